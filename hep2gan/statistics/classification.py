"""Scores of a classifier: from confusion matrices, many at once, by class and by specimen."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from hep2gan.errors import Hep2ganError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MACRO_SCORES = ("accuracy", "precision", "recall", "f1", "mean_class_accuracy")
"""What `macro_scores` returns, in this order, by the names of metrics.json."""


def macro_scores(confusion: npt.NDArray[np.float64] | Counts) -> Floats:
    """Compute the `MACRO_SCORES` of confusion matrices.

    Macro precision, recall and F1 are means over the classes that occur in the truth or among the
    predictions, mean class accuracy over those in the truth. `ClassificationMetrics` uses the same
    definitions, but sums in another order and differs in the last bit.

    Args:
        confusion: (..., K, K) counts, rows the true class.

    Returns:
        (..., 5) scores in [0, 1]; NaN without cells.
    """
    correct = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    occurs = true + predicted > 0
    return np.stack(
        [
            divide(correct.sum(axis=-1), true.sum(axis=-1)),
            _mean(correct / np.maximum(predicted, 1), occurs),
            _mean(correct / np.maximum(true, 1), occurs),
            _mean(2 * correct / np.maximum(true + predicted, 1), occurs),
            _mean(correct / np.maximum(true, 1), true > 0),
        ],
        axis=-1,
    )


def cell_confusions(label: Counts, predicted: Counts, classes: int) -> Counts:
    """Build the confusion matrix of each single cell.

    Args:
        label: (N,) true classes in [0, K).
        predicted: (N,) predicted classes in [0, K).
        classes: Number K of classes.

    Returns:
        (N, K, K) matrices with a single 1, rows the true class.
    """
    cells = np.zeros((len(label), classes, classes), np.int64)
    cells[np.arange(len(label)), label, predicted] = 1
    return cells


def sum_by_group(unit: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> Floats:
    """Sum the values of each unit.

    Args:
        unit: (N,) unit that each row belongs to, such as its specimen.
        values: (N, ...) values to sum.

    Returns:
        (U, ...) sums, units in ascending order.
    """
    distinct, index = np.unique(unit, return_inverse=True)
    sums = np.zeros((len(distinct), *values.shape[1:]))
    np.add.at(sums, index.reshape(-1), values)
    return sums


def scores_by_class(
    label: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
) -> dict[str, Floats]:
    """Compute scores of each class.

    Args:
        label: (N,) true classes in [0, K).
        predicted: (N,) predicted classes in [0, K).
        probabilities: (N, K) class probabilities.

    Returns:
        (K,) `recall`, `precision`, `f1` and `auroc` in [0, 1]; NaN for a class without cells.
        Precision is 0 if no cell is predicted as the class; AUROC is NaN if all cells belong to it.
    """
    classes = range(probabilities.shape[1])
    occurs = np.bincount(label, minlength=len(classes)) > 0
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, predicted, labels=classes, zero_division=0
    )
    scores = {"recall": recall, "precision": precision, "f1": f1}
    return {
        **{name: np.where(occurs, values, np.nan) for name, values in scores.items()},
        "auroc": np.array([_area(label == one, probabilities[:, one]) for one in classes]),
    }


def divide(part: Floats, whole: npt.NDArray[np.number]) -> Floats:
    """Divide elementwise; NaN where the divisor is 0.

    Args:
        part: Dividend.
        whole: Divisor, not negative, of a shape that broadcasts to that of `part`.
    """
    ratio = np.full(part.shape, np.nan)
    return np.divide(part, whole, out=ratio, where=whole > 0)  # type: ignore[no-any-return]


def _mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    return divide((values * counted).sum(axis=-1), counted.sum(axis=-1))


def _area(own: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> float:
    return float(roc_auc_score(own, probability)) if own.any() and not own.all() else float("nan")


class VotingResult(NamedTuple):
    """True and voted classes of S specimens.

    Attributes:
        specimen: (S,) specimen numbers, ascending.
        label: (S,) true classes.
        by_probability: (S,) classes of the highest mean probability over the specimen's cells.
        by_majority: (S,) classes of most cells; of equals the one that is more probable on average.
    """

    specimen: Counts
    label: Counts
    by_probability: Counts
    by_majority: Counts


class SpecimenResult(NamedTuple):
    """Classification of one specimen's cells; classes are given by label.

    Attributes:
        specimen: Specimen number.
        label: True class.
        cells: Number of cells.
        right: Number of correctly classified cells.
        by_probability: Class voted for, as in `VotingResult`.
        by_majority: Class voted for, as in `VotingResult`.
    """

    specimen: int
    label: int
    cells: int
    right: int
    by_probability: int
    by_majority: int

    @property
    def accuracy(self) -> float:
        """Share of correctly classified cells, in [0, 1]."""
        return self.right / self.cells


def specimen_results(
    specimen: Counts, label: Counts, probabilities: npt.NDArray[np.floating]
) -> list[SpecimenResult]:
    """Summarise the classification of each specimen, ordered by class and number.

    Args:
        specimen: (N,) specimen numbers; cells of an unknown one (-1) are left out, and a number
            that occurs in two classes has a row in each.
        label: (N,) true classes in [0, K).
        probabilities: (N, K) class probabilities.

    Returns:
        One row for each pair of specimen and class.
    """
    known = specimen >= 0
    label, probabilities = label[known], probabilities[known]
    units, group, cells = np.unique(
        np.stack([label, specimen[known]], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    group = group.ravel()
    right = np.bincount(group[probabilities.argmax(axis=1) == label], minlength=len(units))
    votes = majority_votes(group, label, probabilities)
    columns = (units[:, 1], units[:, 0], cells, right, votes.by_probability, votes.by_majority)
    return [SpecimenResult(*map(int, row)) for row in zip(*columns, strict=True)]


def majority_votes(
    specimen: Counts, label: Counts, probabilities: npt.NDArray[np.floating]
) -> VotingResult:
    """Let the cells of each specimen vote: laboratories report patterns of patients, not of cells.

    Args:
        specimen: (N,) specimen numbers.
        label: (N,) true classes in [0, K).
        probabilities: (N, K) class probabilities; the vote of a cell is its most probable class.

    Raises:
        Hep2ganError: If the specimen of a cell is unknown (-1), or a specimen has cells of several
            classes.
    """
    if (specimen < 0).any():
        raise Hep2ganError("specimens of some cells are unknown", "a vote needs those of all")
    numbers, first = np.unique(specimen, return_index=True)
    own = label[first]
    if (own[np.searchsorted(numbers, specimen)] != label).any():
        raise Hep2ganError("a specimen has cells of several classes", "it must have one class")
    # Within a specimen, sums have the same order as means.
    total = sum_by_group(specimen, probabilities.astype(np.float64))
    each = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    count = sum_by_group(specimen, each)
    leading = np.where(count == count.max(axis=1, keepdims=True), total, -1)
    return VotingResult(
        numbers,
        own,
        total.argmax(axis=1).astype(np.int64),
        leading.argmax(axis=1).astype(np.int64),
    )
