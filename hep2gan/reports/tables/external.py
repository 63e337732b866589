"""Results on other labelled sets beside those on the runs' own test cells."""

from typing import TYPE_CHECKING

from hep2gan.reports.external import CrossRow, CrossSet, ExternalResult
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import ESTIMATED_MEASURES, Estimate, estimate_values
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Part,
    Row,
    Table,
    format_interval,
    hundredths,
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
    "Percentages: mean ± standard deviation over seeds, with the 95 % interval of these "
    "trainings. Rows are what was trained on, columns what was tested on; own is the run's own "
    "test cells, all else are all cells of the other set that were not in training: of the same "
    "cells cut otherwise, those of its own test part. The ellipse is inscribed in each crop and "
    "never looks at a pixel."
)
_CROSSED = ("accuracy", "dice")


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
    """Build the matrices of accuracy and Dice by training set and test set.

    Args:
        study: The runs of the report.

    Returns:
        The table; None unless methods of several training sets were tested on others.
    """
    if (matrix := study.cross_set) is None:
        return None
    shown = [one for one in _CROSSED if any(any(row.of(one)) for row in matrix.rows)]
    rows = [
        Row(
            [method_cell(row.method), _trained_on(matrix.sets[row.own])],
            [_crossed(matrix, row, measure) for measure in shown],
        )
        for row in matrix.rows
    ]
    if "dice" in shown:
        ellipse = [
            Cell(f"On {name}", hundredths(value), {f"{name}_dice": value})
            for name, value in zip(matrix.sets, matrix.ellipse, strict=True)
        ]
        head = [Cell("Method", "inscribed ellipse"), _trained_on("")]
        rows.append(Row(head, [ellipse if one == "dice" else () for one in shown], kind="total"))
    parts = [Part(ESTIMATED_MEASURES[measure], label=measure) for measure in shown]
    return Table("Trained on one set, tested on all", rows, parts, notes=(_CROSS,))


def _trained_on(name: str) -> Cell:
    return Cell("Trained on", name or ABSENT, {"trained_on": name or None}, code=bool(name))


def _crossed(matrix: CrossSet, row: CrossRow, measure: str) -> list[Cell]:
    return [
        Cell(
            f"On {name}",
            f"{'own: ' * (place == row.own)}{with_interval(found)}",
            estimate_values(f"{name}_{measure}", found),
        )
        for place, (name, found) in enumerate(zip(matrix.sets, row.of(measure), strict=True))
    ]
