"""Results specimen by specimen: a patient's slide is read as a whole."""

from collections.abc import Sequence

import numpy as np

from hep2gan.reports.results import MethodResults, TestCells
from hep2gan.reports.tables.table import Cell, Row, Table, hundredths, method_cell, value_cell
from hep2gan.statistics.voting import majority_votes


def specimens_table(methods: Sequence[MethodResults]) -> Table | None:
    """Return a row a classifier, seed and specimen, by class and number.

    The folds of a seed are one test set. Cells of unknown specimen are left out; a specimen number
    that occurs in two classes has a row in each.
    """
    rows = [
        row
        for method in methods
        for seed, cells in method.tests.items()
        for row in _rows(method, seed, cells.rows(np.flatnonzero(cells.specimen >= 0)))
    ]
    return Table("Specimens", rows, outputs=("csv",)) if rows else None


def _rows(method: MethodResults, seed: str, cells: TestCells) -> list[Row]:
    if cells.predicted is None or cells.probabilities is None or not len(cells):
        return []
    classes = cells.classes
    pairs, unit = np.unique(
        np.stack([cells.label, cells.specimen], axis=1), axis=0, return_inverse=True
    )
    unit = unit.reshape(-1)
    votes = majority_votes(unit, cells.label, cells.probabilities)
    tested = np.bincount(unit)
    right = np.bincount(unit[cells.predicted == cells.label], minlength=len(pairs))
    runs = [result.run.path for result in method.results if result.run.seed == seed]
    rows = []
    for place, (label, specimen) in enumerate(pairs):
        n, correct = int(tested[place]), int(right[place])
        head = [
            method_cell(method)._replace(runs=runs),
            value_cell("Seed", "seed", seed),
            value_cell("Specimen", "specimen", int(specimen)),
            Cell("Class", classes[label], {"class": classes[label]}, code=True),
        ]
        fields = [
            value_cell("Cells", "cells", n),
            value_cell("Right", "right", correct),
            value_cell("Accuracy", "accuracy", correct / n, hundredths),
        ]
        for name, voted in (
            ("probability", classes[votes.by_probability[place]]),
            ("majority", classes[votes.by_majority[place]]),
        ):
            values = {f"voted_by_{name}": voted, f"right_by_{name}": voted == classes[label]}
            fields.append(Cell(f"Voted by {name}", voted, values, code=True))
        rows.append(Row(head, [fields], label=f"{method.title} seed {seed}"))
    return rows
