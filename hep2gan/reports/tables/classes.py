"""Results class by class: which patterns a method reads, beside other methods."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, TestCells
from hep2gan.reports.tables.table import (
    ABSENT,
    NamedRuns,
    TextTable,
    Value,
    csv_table,
    format_interval,
    inline_code,
    markdown_table,
    mean_sd,
    row_identity,
    rows_below,
    run_paths,
)
from hep2gan.reports.tables.table_1 import interval_ends
from hep2gan.statistics.confusion import scores_by_class
from hep2gan.statistics.intervals import Interval, wilson

CLASS_MEASURES = {"recall": "Recall", "precision": "Precision", "f1": "F1", "auroc": "AUROC"}
NOTE = (
    "Percentages; mean ± standard deviation over seeds, the folds of a seed are one test set. "
    "Recall is the share of a class's cells that is read right, its accuracy; its 95 % interval "
    "is Wilson's, for a method with one seed, and takes cells for independent: where a class has "
    "few specimens it is too narrow. AUROC is the area under the ROC curve of the class against "
    "the rest. Cells that are tested under several seeds are counted once."
)


class ClassScore(NamedTuple):
    """A figure in [0, 1]: mean and sample standard deviation over seeds that have the class.

    sd: None with one such seed.
    """

    mean: float
    sd: float | None


class ClassScoresRow(NamedTuple):
    """One class as one method reads it.

    cells: of the class, each once. scores: by the names of MEASURES, those that are known.
    interval: of the recall, where the method has one seed.
    """

    method: MethodResults
    name: str
    cells: int
    scores: dict[str, ClassScore]
    interval: Interval | None


def class_scores_rows(found: Sequence[MethodResults]) -> list[ClassScoresRow]:
    """Return the classes of every classifier, methods below each other in each class."""
    classify = [method for method in found if method.cells.predicted is not None]
    names = dict.fromkeys(name for method in classify for name in method.cells.classes)
    by_seed = {
        method.title: [scores_of_method(cells) for cells in method.tests.values()]
        for method in classify
    }
    return [
        _row(method, method.cells.classes.index(name), by_seed[method.title])
        for name in names
        for method in classify
        if name in method.cells.classes
    ]


def scores_of_method(cells: TestCells) -> dict[str, npt.NDArray[np.float64]]:
    """Return (K,) fractions by the names of MEASURES, as `scores_by_class` has them.

    Raises Hep2ganError without a classifier.
    """
    if cells.predicted is None or cells.probabilities is None:
        raise Hep2ganError("these cells have no predicted classes")
    return scores_by_class(cells.label, cells.predicted, cells.probabilities)


def _row(
    method: MethodResults, label: int, by_seed: Sequence[dict[str, npt.NDArray[np.float64]]]
) -> ClassScoresRow:
    scores = {}
    for measure in CLASS_MEASURES:
        values = [float(one[measure][label]) for one in by_seed if np.isfinite(one[measure][label])]
        if values:
            scores[measure] = ClassScore(fmean(values), stdev(values) if len(values) > 1 else None)
    own = method.cells.label == label
    interval = None
    if method.cells.predicted is not None and own.any() and len(by_seed) == 1:
        interval = wilson(int((method.cells.predicted[own] == label).sum()), int(own.sum()))
    return ClassScoresRow(method, method.cells.classes[label], int(own.sum()), scores, interval)


def classes_markdown(rows: Sequence[ClassScoresRow]) -> str:
    """A table with a line a class and method, and the runs."""
    parts = ["# Class by class\n", markdown_table(*class_table(rows, inline_code))]
    runs = {row.method.title: row.method.runs for row in rows}
    return "\n".join([*parts, *rows_below(NOTE, [row.method for row in rows], runs)])


def class_table(rows: Sequence[ClassScoresRow], named: NamedRuns = str) -> TextTable:
    """A line a class and method."""
    header = ["Method", "Class", "Cells", "Recall", "95 % interval"]
    header += list(CLASS_MEASURES.values())[1:]
    return TextTable(header, [_shown(row, named) for row in rows])


def classes_csv(rows: Sequence[ClassScoresRow]) -> str:
    """A line a class and method: fractions."""
    return csv_table([_line(row) for row in rows])


def _shown(row: ClassScoresRow, named: NamedRuns) -> list[str]:
    found = [row.scores.get(measure) for measure in CLASS_MEASURES]
    recall, *others = [ABSENT if one is None else mean_sd(*one) for one in found]
    fields = [named(row.method.title), named(row.name), f"{row.cells:,}"]
    return [*fields, recall, format_interval(row.interval), *others]


def _line(row: ClassScoresRow) -> dict[str, Value]:
    line = row_identity(row.method) | {"class": row.name, "seeds": len(row.method.tests)}
    line |= {"runs": len(row.method.runs), "cells": row.cells}
    for measure in CLASS_MEASURES:
        mean, sd = row.scores.get(measure, (None, None))
        line |= {measure: mean, f"{measure}_sd": sd}
    return (
        line
        | interval_ends("recall_wilson", row.interval)
        | {"run_paths": run_paths(row.method.runs)}
    )
