"""Results by intensity; by pattern where intensities are the classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hep2gan.reports.naming import group_pairs
from hep2gan.reports.results import TestCells, pool
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import estimate_cell, interval_in_words, make_estimates
from hep2gan.reports.tables.table import Cell, Row, Table, method_cell, value_cell
from hep2gan.runs.predictions import find_subgroups

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

_MEASURES = ("accuracy", "mean_class_accuracy", "f1", "dice")
_NOTE = (
    "Percentages; mean ± standard deviation over seeds, the folds of a seed are one test set. The "
    "interval is that of the accuracy, a t interval between specimens on the logit scale, or over "
    "blocks or cells where specimens are unknown. Mean class accuracy is a mean over the classes "
    "of the row's cells. Cells of unknown intensity are in no row."
)


@report_table("subgroups", order=6)
def subgroups_table(study: "Study") -> Table | None:
    """Build the table with a row for each method and intensity, or pattern.

    Args:
        study: The runs of the report.

    Returns:
        The table; None where the set has no intensities.
    """
    rows = [
        row
        for method in study.methods
        for row in _rows(list(method.tests.values()), [method_cell(method)])
    ]
    return _table(rows)


def subgroups_of(tests: Sequence[TestCells]) -> Table | None:
    """Build the same table for the tests of one method, without its name.

    Args:
        tests: Test cells of the method, one test set a seed.

    Returns:
        The table; None where the set has no intensities.
    """
    return _table(_rows(tests, []))


def _table(rows: Sequence[Row]) -> Table | None:
    if not rows:
        return None
    title = f"Results by {rows[0].head[-1].heading.lower()}"
    return Table(title, rows, notes=(_NOTE,), outputs=("md", "tex", "csv", "html"))


def _rows(tests: Sequence[TestCells], head: Sequence[Cell]) -> list[Row]:
    parts = group_pairs(
        ((kind, name), cells.rows(rows))
        for cells in tests
        for kind, name, rows in find_subgroups(cells)
    )
    return [
        Row([*head, Cell(kind.capitalize(), name, {kind: name}, code=True)], [_fields(own)])
        for (kind, name), own in sorted(parts.items())
    ]


def _fields(tests: Sequence[TestCells]) -> list[Cell]:
    """Print the scores of one subgroup; a cell that is tested under several seeds counts once."""
    estimates, cells = make_estimates(tests), pool(tests)
    accuracy, *others = (estimate_cell(measure, estimates.get(measure)) for measure in _MEASURES)
    found = estimates.get("accuracy")
    return [
        value_cell("Cells", "cells", len(cells), "{:,}".format),
        value_cell("Specimens", "specimens", cells.specimens or None),
        accuracy,
        Cell("95 % interval", interval_in_words(found)),
        *others,
    ]
