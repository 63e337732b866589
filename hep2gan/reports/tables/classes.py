"""Results class by class: which patterns a method reads, beside other methods."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import Method, Tested
from hep2gan.reports.tables.table import (
    ABSENT,
    Named,
    TextTable,
    Value,
    below,
    code,
    csv_table,
    identity,
    markdown_table,
    mean_sd,
    paths,
    span,
)
from hep2gan.reports.tables.table_1 import ends
from hep2gan.statistics.confusion import scores_by_class
from hep2gan.statistics.intervals import Interval, wilson

MEASURES = {"recall": "Recall", "precision": "Precision", "f1": "F1", "auroc": "AUROC"}
NOTE = (
    "Percentages; mean ± standard deviation over seeds, the folds of a seed are one test set. "
    "Recall is the share of a class's cells that is read right, its accuracy; its 95 % interval "
    "is Wilson's, for a method with one seed, and takes cells for independent: where a class has "
    "few specimens it is too narrow. AUROC is the area under the ROC curve of the class against "
    "the rest. Cells that are tested under several seeds are counted once."
)


class Score(NamedTuple):
    """A figure in [0, 1]: mean and sample standard deviation over seeds that have the class.

    sd: None with one such seed.
    """

    mean: float
    sd: float | None


class ClassRow(NamedTuple):
    """One class as one method reads it.

    cells: of the class, each once. scores: by the names of MEASURES, those that are known.
    interval: of the recall, where the method has one seed.
    """

    method: Method
    name: str
    cells: int
    scores: dict[str, Score]
    interval: Interval | None


def classes(found: Sequence[Method]) -> list[ClassRow]:
    """Return the classes of every classifier, methods below each other in each class."""
    classify = [method for method in found if method.cells.predicted is not None]
    names = dict.fromkeys(name for method in classify for name in method.cells.classes)
    by_seed = {
        method.title: [class_scores(cells) for cells in method.tests.values()]
        for method in classify
    }
    return [
        _row(method, method.cells.classes.index(name), by_seed[method.title])
        for name in names
        for method in classify
        if name in method.cells.classes
    ]


def class_scores(cells: Tested) -> dict[str, npt.NDArray[np.float64]]:
    """Return (K,) fractions by the names of MEASURES, as `scores_by_class` has them.

    Raises Hep2ganError without a classifier.
    """
    if cells.predicted is None or cells.probabilities is None:
        raise Hep2ganError("these cells have no predicted classes")
    return scores_by_class(cells.label, cells.predicted, cells.probabilities)


def _row(
    method: Method, label: int, by_seed: Sequence[dict[str, npt.NDArray[np.float64]]]
) -> ClassRow:
    scores = {}
    for measure in MEASURES:
        values = [float(one[measure][label]) for one in by_seed if np.isfinite(one[measure][label])]
        if values:
            scores[measure] = Score(fmean(values), stdev(values) if len(values) > 1 else None)
    own = method.cells.label == label
    interval = None
    if method.cells.predicted is not None and own.any() and len(by_seed) == 1:
        interval = wilson(int((method.cells.predicted[own] == label).sum()), int(own.sum()))
    return ClassRow(method, method.cells.classes[label], int(own.sum()), scores, interval)


def classes_markdown(rows: Sequence[ClassRow]) -> str:
    """A table with a line a class and method, and the runs."""
    parts = ["# Class by class\n", markdown_table(*class_table(rows, code))]
    runs = {row.method.title: row.method.runs for row in rows}
    return "\n".join([*parts, *below(NOTE, [row.method for row in rows], runs)])


def class_table(rows: Sequence[ClassRow], named: Named = str) -> TextTable:
    """A line a class and method."""
    header = ["Method", "Class", "Cells", "Recall", "95 % interval"]
    header += list(MEASURES.values())[1:]
    return TextTable(header, [_shown(row, named) for row in rows])


def classes_csv(rows: Sequence[ClassRow]) -> str:
    """A line a class and method: fractions."""
    return csv_table([_line(row) for row in rows])


def _shown(row: ClassRow, named: Named) -> list[str]:
    found = [row.scores.get(measure) for measure in MEASURES]
    recall, *others = [ABSENT if one is None else mean_sd(*one) for one in found]
    fields = [named(row.method.title), named(row.name), f"{row.cells:,}"]
    return [*fields, recall, span(row.interval), *others]


def _line(row: ClassRow) -> dict[str, Value]:
    line = identity(row.method) | {"class": row.name, "seeds": len(row.method.tests)}
    line |= {"runs": len(row.method.runs), "cells": row.cells}
    for measure in MEASURES:
        mean, sd = row.scores.get(measure, (None, None))
        line |= {measure: mean, f"{measure}_sd": sd}
    return line | ends("recall_wilson", row.interval) | {"run_paths": paths(row.method.runs)}
