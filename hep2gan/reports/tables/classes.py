"""Results class by class: which patterns a method reads, beside other methods."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, TestCells
from hep2gan.reports.tables.estimates import mean_and_sd
from hep2gan.reports.tables.table import (
    Cell,
    Row,
    Table,
    format_interval,
    hundredths,
    interval_values,
    mean_sd,
    method_cell,
    value_cell,
)
from hep2gan.statistics.confusion import scores_by_class
from hep2gan.statistics.intervals import wilson

CLASS_MEASURES = {"recall": "Recall", "precision": "Precision", "f1": "F1", "auroc": "AUROC"}
_NOTE = (
    "Percentages; mean ± standard deviation over seeds, the folds of a seed are one test set. "
    "Recall is the share of a class's cells that is read right, its accuracy; its 95 % interval "
    "is Wilson's, for a method with one seed, and takes cells for independent: where a class has "
    "few specimens it is too narrow. AUROC is the area under the ROC curve of the class against "
    "the rest. Cells that are tested under several seeds are counted once."
)


def classes_table(methods: Sequence[MethodResults]) -> Table | None:
    """Return the classes of every classifier, methods below each other in each class."""
    classify = [method for method in methods if method.cells.predicted is not None]
    by_seed = {
        method.title: [scores_of_method(cells) for cells in method.tests.values()]
        for method in classify
    }
    names = dict.fromkeys(name for method in classify for name in method.cells.classes)
    rows = [
        _row(method, method.cells.classes.index(name), by_seed[method.title])
        for name in names
        for method in classify
        if name in method.cells.classes
    ]
    folded = f"{len(names)} classes by {len(by_seed)} method{'s' * (len(by_seed) > 1)}"
    text = _hardest(rows)
    return Table("Class by class", rows, notes=(_NOTE,), text=text, folded=folded) if rows else None


def scores_of_method(cells: TestCells) -> dict[str, npt.NDArray[np.float64]]:
    """Return (K,) fractions by the names of CLASS_MEASURES, as `scores_by_class` has them.

    Raises Hep2ganError without a classifier.
    """
    if cells.predicted is None or cells.probabilities is None:
        raise Hep2ganError("these cells have no predicted classes")
    return scores_by_class(cells.label, cells.predicted, cells.probabilities)


def _row(
    method: MethodResults, label: int, by_seed: Sequence[dict[str, npt.NDArray[np.float64]]]
) -> Row:
    """One class as one method reads it; the interval is of a method with one seed."""
    cells, interval = method.cells, None
    own = cells.label == label
    if cells.predicted is not None and own.any() and len(by_seed) == 1:
        interval = wilson(int((cells.predicted[own] == label).sum()), int(own.sum()))
    scores = []
    for measure, heading in CLASS_MEASURES.items():
        mean, sd = mean_and_sd([float(one[measure][label]) for one in by_seed])
        scores.append(Cell(heading, mean_sd(mean, sd), {measure: mean, f"{measure}_sd": sd}))
    name = cells.classes[label]
    head = [method_cell(method), Cell("Class", name, {"class": name}, code=True)]
    fields = [
        Cell(values={"seeds": len(method.tests), "runs": len(method.runs)}),
        value_cell("Cells", "cells", int(own.sum()), "{:,}".format),
        scores[0],
        Cell("95 % interval", format_interval(interval)),
        *scores[1:],
        Cell(values=interval_values("recall_wilson", interval)),
    ]
    return Row(head, [fields])


def _hardest(rows: Sequence[Row]) -> str:
    """Say which class has the lowest recall, on average over methods, and how far those differ."""
    recalls: dict[str, dict[str, float]] = {}
    for row in rows:
        if isinstance(recall := row.values["recall"], float):
            recalls.setdefault(row.head[1].text, {})[row.head[0].text] = recall
    if not recalls:
        return ""
    name = min(recalls, key=lambda name: fmean(recalls[name].values()))
    own = recalls[name]
    low, high = min(own, key=lambda title: own[title]), max(own, key=lambda title: own[title])
    share = f"{hundredths(own[low])} % of its cells"
    if own[low] < own[high]:
        share = f"from {share} ({low}) to {hundredths(own[high])} % ({high})"
    return f"{name} is read right least often: {share}."
