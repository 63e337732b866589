"""What a test leaves on the dashboard beside its numbers: confusion, ROC, the worst cells."""

from itertools import chain, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import wandb

from hep2gan.reports.figures.overlay import outlined
from hep2gan.reports.figures.roc import roc_curves
from hep2gan.reports.selection import confident_errors, dice_by_cell, lowest_dice
from hep2gan.runs.predictions import Predictions

WORST = 20
POINTS = 100
"""Most points of one class's ROC curve: more than a panel has pixels to tell apart."""


def panels(predictions: Predictions) -> dict[str, Any]:
    """wandb's objects by key, those that the method has predictions for."""
    found: dict[str, Any] = {}
    if predictions.probabilities is not None:
        found["test/confusion_matrix"] = confusion_panel(predictions)
        found["test/roc"] = roc_panel(predictions)
    rows = worst_cells(predictions)
    if rows:
        found["test/worst_cells"] = cell_table(predictions, rows)
        # The table keeps its pictures in an artifact; these show without opening one.
        found["test/worst_pictures"] = [picture_of(predictions, row) for row in rows]
    return found


def confusion_panel(predictions: Predictions) -> Any:
    """The confusion matrix: K x K numbers of cells."""
    return wandb.plot.confusion_matrix(
        y_true=predictions.label.tolist(),
        preds=predictions.predicted.tolist(),
        class_names=list(predictions.classes),
        title="Confusion matrix (test)",
    )


def roc_panel(predictions: Predictions) -> Any:
    """Each class against the rest; only the corners of a curve, and at most 100 of them."""
    rows = [
        [predictions.classes[curve.label], float(fpr), float(tpr)]
        for curve in roc_curves(predictions)
        for fpr, tpr in zip(
            _thinned(curve.false_positive_rate), _thinned(curve.true_positive_rate), strict=True
        )
    ]
    return wandb.plot_table(
        data_table=wandb.Table(columns=["class", "fpr", "tpr"], data=rows),
        vega_spec_name="wandb/area-under-curve/v0",
        fields={"x": "fpr", "y": "tpr", "class": "class"},
        string_fields={
            "title": "ROC (test)",
            "x-axis-title": "False positive rate",
            "y-axis-title": "True positive rate",
        },
    )


def _thinned(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(values) <= POINTS:
        return values
    kept: npt.NDArray[np.float64] = values[
        np.linspace(0, len(values) - 1, POINTS).round().astype(int)
    ]
    return kept


def worst_cells(predictions: Predictions, count: int = WORST) -> list[int]:
    """At most `count` rows: the surest misreadings and the lowest Dice in turn, none twice."""
    errors = [] if predictions.probabilities is None else confident_errors(predictions, count)
    dice = [] if predictions.mask is None else lowest_dice(predictions, count)
    turns = chain.from_iterable(zip_longest(errors, dice))
    return list(dict.fromkeys(row for row in turns if row is not None))[:count]


def picture_of(predictions: Predictions, row: int) -> Any:
    """One cell with its true and its generated outline, its id below it."""
    return wandb.Image(outlined(predictions, row), caption=str(predictions.id[row]))


def cell_table(predictions: Predictions, rows: list[int]) -> Any:
    """A table of cells: a picture of both outlines, id, specimen, patterns, Dice, probabilities.

    Fields of what the method does not have are empty.
    """
    probabilities = [f"p({name})" for name in predictions.classes]
    columns = ["cell", "id", "specimen", "true", "predicted", "dice", *probabilities]
    dice = None if predictions.mask is None else dice_by_cell(predictions)
    data = []
    for row in rows:
        scores: list[Any] = [None] * len(predictions.classes)
        guess = None
        if predictions.probabilities is not None:
            scores = [float(p) for p in predictions.probabilities[row]]
            guess = predictions.classes[predictions.predicted[row]]
        picture = picture_of(predictions, row)
        specimen = int(predictions.specimen[row])
        true = predictions.classes[predictions.label[row]]
        fit = None if dice is None else float(dice[row])
        name = str(predictions.id[row])
        data.append([picture, name, specimen, true, guess, fit, *scores])
    return wandb.Table(columns=columns, data=data)
