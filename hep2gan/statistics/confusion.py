"""Scores of a classifier from its confusion matrices, many at once, and class by class."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

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
            _ratio(correct.sum(axis=-1), true.sum(axis=-1)),
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


def _ratio(part: Floats, whole: npt.NDArray[np.generic]) -> Floats:
    total = np.asarray(whole, np.float64)
    ratio = np.full(total.shape, np.nan)
    return np.divide(part, total, out=ratio, where=total > 0)  # type: ignore[no-any-return]


def _mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    return _ratio((values * counted).sum(axis=-1), counted.sum(axis=-1))


def _area(own: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> float:
    return float(roc_auc_score(own, probability)) if own.any() and not own.all() else float("nan")
