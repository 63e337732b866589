"""Results by class, methods beside each other, and by specimen."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt

from hep2gan.reports.naming import group_pairs
from hep2gan.reports.results import UNITS, MethodResults
from hep2gan.reports.study import Study
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    interval_in_words,
    make_estimates,
    mean_and_sd,
)
from hep2gan.reports.tables.table import (
    Cell,
    Row,
    Table,
    hundredths,
    interval_values,
    mean_sd,
    method_cell,
    value_cell,
)
from hep2gan.statistics.classification import SpecimenResult, scores_by_class, specimen_results

CLASS_MEASURES = {"recall": "Recall", "precision": "Precision", "f1": "F1", "auroc": "AUROC"}
_NOTE = (
    "Percentages; mean ± standard deviation over seeds, the folds of a seed are one test set. "
    "Recall is the share of a class's cells classified correctly, its accuracy; its 95 % interval "
    "is a t interval between its specimens (or blocks), and there is none with fewer than three; "
    "where neither are known, Wilson's over cells, for a method with one seed. AUROC is the area "
    "under the ROC curve of the class against the rest. Cells that are tested under several seeds "
    "are counted once."
)


@report_table("classes", order=5)
def classes_table(study: Study) -> Table | None:
    """Build the table of scores by class, the classifiers below each other in each class.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without a classifier.
    """
    classify = [method for method in study.methods if method.cells.predicted is not None]
    by_seed = {
        method.title: [
            scores_by_class(cells.label, cells.predicted, cells.probabilities)
            for cells in method.tests.values()
            if cells.predicted is not None and cells.probabilities is not None
        ]
        for method in classify
    }
    names = dict.fromkeys(name for method in classify for name in method.cells.classes)
    rows = [
        _class_row(method, method.cells.classes.index(name), by_seed[method.title])
        for name in names
        for method in classify
        if name in method.cells.classes
    ]
    folded = f"{len(names)} class{'es' * (len(names) > 1)} by "
    folded += f"{len(by_seed)} method{'s' * (len(by_seed) > 1)}"
    return (
        Table("Class by class", rows, notes=(_NOTE,), text=_hardest(rows), folded=folded)
        if rows
        else None
    )


def _class_row(
    method: MethodResults, label: int, by_seed: Sequence[dict[str, npt.NDArray[np.float64]]]
) -> Row:
    """Print the scores of one class."""
    cells = method.cells.rows(np.flatnonzero(method.cells.label == label))
    own = [test.rows(np.flatnonzero(test.label == label)) for test in method.tests.values()]
    known = [test for test in own if len(test)]
    recall = make_estimates(known).get("accuracy") if known else None
    if recall is not None and recall.unit == "cell" and len(by_seed) > 1:
        recall = recall._replace(intervals={}, missing="several seeds")
    scores = []
    for measure, heading in CLASS_MEASURES.items():
        mean, sd = mean_and_sd([float(one[measure][label]) for one in by_seed])
        scores.append(Cell(heading, mean_sd(mean, sd), {measure: mean, f"{measure}_sd": sd}))
    name = cells.classes[label]
    fields = [
        Cell(values={"seeds": len(method.tests), "runs": len(method.runs)}),
        value_cell("Cells", "cells", len(cells), "{:,}".format),
        scores[0],
        Cell("95 % interval", interval_in_words(recall)),
        *scores[1:],
        Cell(
            values={
                name: value
                for unit in UNITS
                for name, value in interval_values(
                    f"recall_{unit}s", recall and recall.intervals.get(unit)
                ).items()
            }
        ),
    ]
    return Row([method_cell(method), Cell("Class", name, {"class": name}, code=True)], [fields])


def _hardest(rows: Sequence[Row]) -> str:
    """Say which class has the lowest recall, on average over methods, and how far those differ."""
    recalls = group_pairs(
        (row.head[1].text, (recall, row.head[0].text))
        for row in rows
        if isinstance(recall := row.values["recall"], float)
    )
    if len(recalls) < 2:
        return ""
    name = min(recalls, key=lambda name: fmean(recall for recall, _ in recalls[name]))
    (least, lowest), (most, highest) = (
        pick(recalls[name], key=lambda pair: pair[0]) for pick in (min, max)
    )
    share = f"{hundredths(least)} %"
    if least < most:
        share = f"from {share} ({lowest}) to {hundredths(most)} % ({highest})"
    return f"On these cells {name} has the lowest recall: {share}."


@report_table("specimens", order=6)
def specimens_table(study: Study) -> Table | None:
    """Build the table with a row for each classifier, seed and specimen, by class and number.

    The folds of a seed are one test set. Cells of an unknown specimen are left out; a specimen
    number that occurs in two classes has a row in each.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without a classifier or known specimens.
    """
    rows = []
    for method in study.methods:
        for seed, cells in method.tests.items():
            runs = [result.run.path for result in method.results if result.run.seed == seed]
            if cells.probabilities is not None:
                found = specimen_results(cells.specimen, cells.label, cells.probabilities)
                rows += [_specimen_row(method, seed, runs, one) for one in found]
    return Table("Specimens", rows, outputs=("csv",)) if rows else None


def _specimen_row(
    method: MethodResults, seed: str, runs: Sequence[Path], one: SpecimenResult
) -> Row:
    name = method.cells.classes[one.label]
    head = [
        method_cell(method)._replace(runs=runs),
        value_cell("Seed", "seed", seed),
        value_cell("Specimen", "specimen", one.specimen),
        Cell("Class", name, {"class": name}, code=True),
    ]
    fields = [
        value_cell("Cells", "cells", one.cells),
        value_cell("Right", "right", one.right),
        value_cell("Accuracy", "accuracy", one.accuracy, hundredths),
    ]
    for vote, label in (("probability", one.by_probability), ("majority", one.by_majority)):
        voted = method.cells.classes[label]
        fields.append(
            Cell(
                f"Voted by {vote}",
                voted,
                {f"voted_by_{vote}": voted, f"right_by_{vote}": label == one.label},
                code=True,
            )
        )
    return Row(head, [fields], label=f"{method.title} seed {seed}")
