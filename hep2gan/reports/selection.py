"""Which cells a figure shows: chosen by rule, never by hand."""

import numpy as np
import numpy.typing as npt

from hep2gan.runs.predictions import Predictions


def typical_cells(
    predictions: Predictions, among: npt.NDArray[np.bool_] | None = None
) -> dict[int, int]:
    """Return for every class that has cells the row of the one to show.

    It is the cell of median Dice (the lower of two), without generated masks of median size. The
    first row wins a tie. among: (N,) true for the rows to choose from; None for all.
    """
    if predictions.mask is None:
        value = np.array([np.count_nonzero(mask) / mask.size for mask in predictions.truth])
    else:
        value = predictions.dice
    chosen: dict[int, int] = {}
    for label in range(len(predictions.classes)):
        candidates = predictions.label == label
        rows = np.flatnonzero(candidates if among is None else candidates & among)
        if rows.size:
            ranked = rows[np.argsort(value[rows], kind="stable")]
            chosen[label] = int(ranked[(rows.size - 1) // 2])
    return chosen


def lowest_dice(predictions: Predictions, count: int) -> list[int]:
    """Return the rows of the `count` cells of lowest Dice, worst first."""
    return [int(row) for row in np.argsort(predictions.dice, kind="stable")[:count]]


def confident_errors(predictions: Predictions, count: int) -> list[int]:
    """Return at most `count` rows of misread cells, those most sure of the wrong class first.

    Raises Hep2ganError without a classifier.
    """
    confidence = predictions.require_probabilities().max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.label)
    ranked = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [int(row) for row in ranked[:count]]
