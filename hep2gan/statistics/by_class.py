"""Scores of single classes, each against the rest."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

Floats = npt.NDArray[np.float64]


def scores_by_class(
    label: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
) -> dict[str, Floats]:
    """(K,) `recall`, `precision`, `f1`, `auroc` in [0, 1] of (N,) cells, (N, K) probabilities.

    NaN where a class has no cells. Precision is 0 where no cell is read as the class; AUROC is NaN
    where all cells are of it.
    """
    classes = range(probabilities.shape[1])
    occurs = np.bincount(label, minlength=len(classes)) > 0
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, predicted, labels=classes, zero_division=0
    )
    found = {
        name: np.where(occurs, values, np.nan)
        for name, values in (("recall", recall), ("precision", precision), ("f1", f1))
    }
    areas = [_area(label == one, probabilities[:, one]) for one in classes]
    return found | {"auroc": np.array(areas)}


def _area(own: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> float:
    return float(roc_auc_score(own, probability)) if own.any() and not own.all() else float("nan")
