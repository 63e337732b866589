"""Which cells a figure shows: chosen by rule, never by hand."""

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.segmentation import dice_by_cell
from hep2gan.runs.predictions import Predictions

"""Generated masks hold probability x 255; foreground is this and above."""


def _size_by_cell(predictions: Predictions) -> npt.NDArray[np.float64]:
    """Return (N,) share of foreground in the true masks."""
    return np.array([np.count_nonzero(mask) / mask.size for mask in predictions.truth])


def typical_cells(
    predictions: Predictions, *, worst: bool = False, among: npt.NDArray[np.bool_] | None = None
) -> dict[int, int]:
    """Return for every class that has cells the row of the one to show.

    It is the cell of median Dice (the lower of two), or of the lowest with `worst`; without
    generated masks the cell of median (or smallest) size. The first row wins a tie. Only rows
    where `among` (N,) is true are looked at.
    """
    here = np.ones(len(predictions.label), dtype=bool) if among is None else among
    value = (dice_by_cell if predictions.mask is not None else _size_by_cell)(predictions)
    chosen: dict[int, int] = {}
    for label in range(len(predictions.classes)):
        rows = np.flatnonzero(here & (predictions.label == label))
        if rows.size:
            ranked = rows[np.argsort(value[rows], kind="stable")]
            chosen[label] = int(ranked[0 if worst else (rows.size - 1) // 2])
    return chosen


def lowest_dice(predictions: Predictions, count: int) -> list[int]:
    """Return the rows of the `count` cells of lowest Dice, worst first."""
    return [int(row) for row in np.argsort(dice_by_cell(predictions), kind="stable")[:count]]


def confident_errors(predictions: Predictions, count: int) -> list[int]:
    """Return at most `count` rows of misread cells, those most sure of the wrong class first.

    Raises Hep2ganError without a classifier.
    """
    if predictions.probabilities is None:
        raise Hep2ganError("these predictions hold no class probabilities")
    confidence = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.label)
    ranked = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [int(row) for row in ranked[:count]]
