"""The cells of a test that a person should look at first."""

from itertools import chain, zip_longest

from hep2gan.reports.figures.cells import confident_errors, lowest_dice
from hep2gan.runs.predictions import Predictions

WORST = 20


def worst_cells(predictions: Predictions, count: int = WORST) -> list[int]:
    """Choose cells: the most confident errors and the lowest Dice in turn, none twice.

    Args:
        predictions: Predictions for the test part.
        count: How many at most.

    Returns:
        Rows of the predictions.
    """
    errors = [] if predictions.probabilities is None else confident_errors(predictions, count)
    dice = lowest_dice(predictions, count)
    turns = chain.from_iterable(zip_longest(errors, dice))
    return list(dict.fromkeys(row for row in turns if row is not None))[:count]
