"""The results of the test as wandb's panels: confusion matrix, ROC curves, worst cells."""

from itertools import chain, zip_longest
from typing import Any

import numpy as np
import wandb

from hep2gan.reports.figures.cells import confident_errors, lowest_dice
from hep2gan.reports.figures.overlay import overlay_cell
from hep2gan.reports.figures.roc import roc_curves
from hep2gan.runs.predictions import Predictions

WORST = 20
POINTS = 100
"""Most points of one class's ROC curve: more than a panel has pixels for."""


def result_panels(predictions: Predictions) -> dict[str, Any]:
    """Build wandb's panels of the test for what the method predicts.

    Args:
        predictions: Predictions for the test part.

    Returns:
        wandb's objects by key.
    """
    panels: dict[str, Any] = {}
    if predictions.probabilities is not None:
        panels["test/confusion_matrix"] = wandb.plot.confusion_matrix(
            y_true=predictions.label.tolist(),
            preds=predictions.predicted.tolist(),
            class_names=list(predictions.classes),
            title="Confusion matrix (test)",
        )
        panels["test/roc"] = roc_panel(predictions)
    if rows := worst_cells(predictions):
        panels["test/worst_cells"] = cell_table(predictions, rows)
        # The table keeps its pictures in an artifact; these show without opening one.
        panels["test/worst_pictures"] = [picture_of(predictions, row) for row in rows]
    return panels


def roc_panel(predictions: Predictions) -> Any:
    """Plot the ROC curve of each class against the rest.

    Args:
        predictions: Predictions with probabilities.

    Returns:
        A panel with at most `POINTS` corners of each curve.
    """
    rows = [
        [
            predictions.classes[curve.label],
            float(curve.false_positive_rate[point]),
            float(curve.true_positive_rate[point]),
        ]
        for curve in roc_curves(predictions)
        for point in _evenly_spaced(len(curve.true_positive_rate))
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


def _evenly_spaced(length: int) -> list[int]:
    return [int(i) for i in np.linspace(0, length - 1, min(length, POINTS)).round()]


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


def picture_of(predictions: Predictions, row: int) -> Any:
    """Draw one cell with its true and its generated outline, as far as it has them.

    Args:
        predictions: Predictions for the test part.
        row: Row of the cell.

    Returns:
        A wandb image with the cell's id as its caption.
    """
    return wandb.Image(overlay_cell(predictions, row), caption=str(predictions.id[row]))


def cell_table(predictions: Predictions, rows: list[int]) -> Any:
    """Make a table of cells: a picture with both outlines, and what is known of each cell.

    Columns are id, specimen, true and predicted class, Dice and probabilities; fields of what the
    method does not predict are empty.

    Args:
        predictions: Predictions for the test part.
        rows: Rows of the cells.

    Returns:
        A wandb table.
    """
    probabilities = [f"p({name})" for name in predictions.classes]
    columns = ["cell", "id", "specimen", "true", "predicted", "dice", *probabilities]
    dice = predictions.dice
    scores = predictions.probabilities
    data = [
        [
            picture_of(predictions, row),
            str(predictions.id[row]),
            int(predictions.specimen[row]),
            predictions.classes[predictions.label[row]],
            predictions.classes[predictions.predicted[row]] if scores is not None else None,
            None if dice is None else float(dice[row]),
            *(scores[row].tolist() if scores is not None else [None] * len(probabilities)),
        ]
        for row in rows
    ]
    return wandb.Table(columns=columns, data=data)
