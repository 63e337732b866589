"""Results on other labelled sets beside those on the runs' own test cells."""

from typing import TYPE_CHECKING

from hep2gan.reports.external import ExternalResult
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import ESTIMATED_MEASURES, Estimate, estimate_values
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Row,
    Table,
    format_interval,
    mean_sd,
    method_cell,
)

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

_SHOWN = ("accuracy", "mean_class_accuracy", "dice")
_NOTE = (
    "Percentages, with 95 % t intervals between specimens where they are known, else over cells; "
    "± is the standard deviation over seeds. Own: the test cells of the run's own set, of all its "
    "classes. External: all cells of the other set whose class is one of the run's and whose "
    "image was not in training. A prediction into a class that the set lacks is wrong."
)
_CROSS = (
    "Accuracy in per cent with its 95 % interval. Rows are what was trained on, columns what was "
    "tested on; own is the run's own test cells, all else are all cells of the other set."
)


@report_table("external", order=7)
def external_table(study: "Study") -> Table | None:
    """Build the table with a row for each method and each other set that it was tested on.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without external tests.
    """
    rows = [_row(one) for one in study.external]
    return Table("External tests", rows, notes=(_NOTE,)) if rows else None


def _row(one: ExternalResult) -> Row:
    known, classes = set(one.facts.classes.values()), len(one.cells.classes)
    synthetic = "synthetic " * one.facts.synthetic
    head = [method_cell(one.method), Cell("Set", one.name, {"set": one.name}, code=True)]
    counts = {
        "seeds": len(one.method.tests),
        "cells": len(one.cells),
        "specimens": one.cells.specimens or None,
        "classes": len(known),
        "of_classes": classes,
        "fingerprint": one.facts.fingerprint,
        "synthetic_set": one.facts.synthetic,
    }
    fields = [
        Cell("Tested on", f"{len(one.cells):,} {synthetic}cells", counts),
        Cell("Classes", f"{len(known)} of {classes}"),
    ]
    for measure in _SHOWN:
        for kind, estimates in (("own", one.own), ("external", one.estimates)):
            found = estimates.get(measure)
            values = estimate_values(f"{measure}_{kind}", found)
            fields.append(
                Cell(f"{ESTIMATED_MEASURES[measure]}, {kind}", with_interval(found), values)
            )
    return Row(head, [fields], label=f"{one.method.title} on {one.name}")


def with_interval(found: Estimate | None) -> str:
    """Print mean, standard deviation over seeds and interval as percentages.

    Args:
        found: The estimate; a dash is printed for None.
    """
    if found is None:
        return ABSENT
    interval = f" ({format_interval(found.interval)})" if found.interval else ""
    return mean_sd(found.mean, found.sd) + interval


@report_table("cross_set", order=8)
def cross_set_table(study: "Study") -> Table | None:
    """Build the matrix of accuracies by training set and test set.

    Args:
        study: The runs of the report.

    Returns:
        The table; None unless methods of several training sets were tested on others.
    """
    if (matrix := study.cross_set) is None:
        return None
    rows = []
    for method, own, accuracies in matrix.rows:
        trained = Cell("Trained on", matrix.sets[own], {"trained_on": matrix.sets[own]}, code=True)
        fields = [
            Cell(
                f"On {name}",
                f"{'own: ' * (place == own)}{with_interval(found)}",
                estimate_values(f"{name}_accuracy", found),
            )
            for place, (name, found) in enumerate(zip(matrix.sets, accuracies, strict=True))
        ]
        rows.append(Row([method_cell(method), trained], [fields]))
    return Table("Trained on one set, tested on all", rows, notes=(_CROSS,))
