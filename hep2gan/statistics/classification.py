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

    Macro precision, recall and F1 run over the classes that occur in the truth or among the
    predictions, mean class accuracy over those in the truth, as those of `ClassificationMetrics`,
    which sums in another order and differs in the last bit.

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
    """Return (N, K, K) matrices of one cell each, from (N,) labels and predicted classes."""
    cells = np.zeros((len(label), classes, classes), np.int64)
    cells[np.arange(len(label)), label, predicted] = 1
    return cells


def sum_by_group(unit: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> Floats:
    """Sum the values of each unit.

    Args:
        unit: (N,) what each row belongs to, such as its specimen.
        values: (N, ...).

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
        label: (N,) true classes.
        predicted: (N,) predicted classes.
        probabilities: (N, K).

    Returns:
        (K,) `recall`, `precision`, `f1` and `auroc` in [0, 1]; NaN where a class has no cells.
        Precision is 0 where no cell is predicted as the class; AUROC is NaN where all cells are of
        it.
    """
    classes = range(probabilities.shape[1])
    occurs = np.bincount(label, minlength=len(classes)) > 0
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, predicted, labels=classes, zero_division=0
    )
    scores = {"recall": recall, "precision": precision, "f1": f1}
    areas = [_area(label == one, probabilities[:, one]) for one in classes]
    return {
        **{name: np.where(occurs, values, np.nan) for name, values in scores.items()},
        "auroc": np.array(areas),
    }


def divide(part: Floats, whole: npt.NDArray[np.number]) -> Floats:
    """Return part / whole; NaN where the whole is 0."""
    ratio = np.full(part.shape, np.nan)
    return np.divide(part, whole, out=ratio, where=whole > 0)  # type: ignore[no-any-return]


def _mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    return divide((values * counted).sum(axis=-1), counted.sum(axis=-1))


def _area(own: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> float:
    return float(roc_auc_score(own, probability)) if own.any() and not own.all() else float("nan")


class VotingResult(NamedTuple):
    """True and voted classes of S specimens, each (S,)."""

    specimen: Counts
    """Numbers, ascending."""
    label: Counts
    by_probability: Counts
    """The class of highest mean probability over the specimen's cells."""
    by_majority: Counts
    """The class of most cells; where several have as many, the more probable on average."""


class SpecimenResult(NamedTuple):
    """How the cells of one specimen are read; classes are labels."""

    specimen: int
    label: int
    cells: int
    right: int
    by_probability: int
    by_majority: int
    """The classes that its cells vote for, as in `VotingResult`."""

    @property
    def accuracy(self) -> float:
        """Share of its cells that are read right, in 0..1."""
        return self.right / self.cells


def specimen_results(
    specimen: Counts, label: Counts, probabilities: npt.NDArray[np.floating]
) -> list[SpecimenResult]:
    """Return a row a specimen, by class and number.

    Args:
        specimen: (N,) specimen numbers; cells of an unknown one (-1) are left out, and a number
            that occurs in two classes has a row in each.
        label: (N,) true classes.
        probabilities: (N, K).
    """
    known = specimen >= 0
    label, probabilities = label[known], probabilities[known]
    pairs = np.stack([label, specimen[known]], axis=1)
    units, group, cells = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    right = np.bincount(group[probabilities.argmax(axis=1) == label], minlength=len(units))
    votes = majority_votes(group, label, probabilities)
    columns = (units[:, 1], units[:, 0], cells, right, votes.by_probability, votes.by_majority)
    return [SpecimenResult(*map(int, row)) for row in zip(*columns, strict=True)]


def majority_votes(
    specimen: Counts, label: Counts, probabilities: npt.NDArray[np.floating]
) -> VotingResult:
    """Let the cells of each specimen vote: a laboratory names patterns of patients, not of cells.

    Args:
        specimen: (N,) specimen numbers.
        label: (N,) true classes.
        probabilities: (N, K); a cell's own vote is its most probable class.

    Raises:
        Hep2ganError: where the specimen of a cell is unknown (-1), or a specimen has cells of
            several classes.
    """
    if (specimen < 0).any():
        raise Hep2ganError("specimens of some cells are unknown", "a vote needs those of all")
    numbers, first = np.unique(specimen, return_index=True)
    own = label[first]
    if (own[np.searchsorted(numbers, specimen)] != label).any():
        raise Hep2ganError("a specimen has cells of several classes", "it must have one pattern")
    # Within a specimen sums rank as means do.
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
