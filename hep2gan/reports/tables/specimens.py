"""Results specimen by specimen, as CSV: a patient's slide is read as a whole."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hep2gan.reports.results import MethodResults, TestCells
from hep2gan.reports.tables.table import Value, csv_table, row_identity, run_paths
from hep2gan.statistics.voting import majority_votes


class SpecimenTableRow(NamedTuple):
    """How one method, trained with one seed, reads the cells of one specimen; classes by name.

    by_probability, by_majority: the class its cells vote for, as in `Votes`.
    """

    method: MethodResults
    seed: str
    specimen: int
    name: str
    cells: int
    right: int
    by_probability: str
    by_majority: str


def specimen_table_rows(found: Sequence[MethodResults]) -> list[SpecimenTableRow]:
    """Return a row a classifier, seed and specimen, by class and number.

    The folds of a seed are one test set. Cells of unknown specimen are left out; a specimen number
    that occurs in two classes has a row in each.
    """
    return [
        row
        for method in found
        for seed, cells in method.tests.items()
        if cells.predicted is not None
        for row in _rows(method, seed, cells)
    ]


def _rows(method: MethodResults, seed: str, tested: TestCells) -> list[SpecimenTableRow]:
    cells = tested.rows(np.flatnonzero(tested.specimen >= 0))
    if cells.probabilities is None or not len(cells):
        return []
    pairs, unit = np.unique(
        np.stack([cells.label, cells.specimen], axis=1), axis=0, return_inverse=True
    )
    unit = unit.reshape(-1)
    found = majority_votes(unit, cells.label, cells.probabilities)
    each = np.bincount(unit)
    right = np.bincount(unit[cells.predicted == cells.label], minlength=len(pairs))
    return [
        SpecimenTableRow(
            method,
            seed,
            int(specimen),
            cells.classes[label],
            int(each[row]),
            int(right[row]),
            cells.classes[found.by_probability[row]],
            cells.classes[found.by_majority[row]],
        )
        for row, (label, specimen) in enumerate(pairs)
    ]


def specimens_csv(rows: Sequence[SpecimenTableRow]) -> str:
    """A line a method, seed and specimen, with the runs of that seed."""
    return csv_table([_line(row) for row in rows])


def _line(row: SpecimenTableRow) -> dict[str, Value]:
    own = [result.run.path for result in row.method.results if result.run.seed == row.seed]
    return row_identity(row.method) | {
        "seed": row.seed,
        "specimen": row.specimen,
        "class": row.name,
        "cells": row.cells,
        "right": row.right,
        "accuracy": row.right / row.cells,
        "voted_by_probability": row.by_probability,
        "right_by_probability": row.by_probability == row.name,
        "voted_by_majority": row.by_majority,
        "right_by_majority": row.by_majority == row.name,
        "run_paths": run_paths(own),
    }
