"""The results of the test as wandb's panels: confusion matrix, ROC curves, tables of cells."""

from typing import Any

import numpy as np
import wandb

from hep2gan.reports.figures.overlay import overlay_cell
from hep2gan.reports.figures.roc import roc_curves
from hep2gan.runs.predictions import Predictions
from hep2gan.training.loggers.worst import WORST, worst_cells

_TABLE_SIDE = 128
POINTS = 100
"""Most points of one class's ROC curve: more than a panel has pixels for."""


def result_panels(predictions: Predictions, table_cells: int = 0) -> dict[str, Any]:
    """Build wandb's panels of the test for what the method predicts.

    Args:
        predictions: Predictions for the test part.
        table_cells: Most cells in the table of predictions; 0 for no table.

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
    if cells := shown_cells(predictions, table_cells):
        panels["test/predictions"] = cell_table(predictions, cells, _TABLE_SIDE)
    return panels


def shown_cells(predictions: Predictions, count: int) -> list[int]:
    """Choose the cells of the table: all of them, or the worst and others at random.

    Args:
        predictions: Predictions for the test part.
        count: How many at most.

    Returns:
        Rows of the predictions, ascending; none where nothing is predicted.
    """
    if predictions.mask is None and predictions.probabilities is None:
        return []
    total = len(predictions.label)
    if total <= count:
        return list(range(total))
    worst = worst_cells(predictions, min(WORST, count))
    others = np.setdiff1d(np.arange(total), worst)
    # A fixed seed: the same cells for each run of a test part, where their worst are the same.
    chosen = np.random.default_rng(0).permutation(others)[: count - len(worst)]
    return sorted([*worst, *chosen.tolist()])


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


def picture_of(predictions: Predictions, row: int, side: int = 256) -> Any:
    """Draw one cell with its true and its generated outline, as far as it has them.

    Args:
        predictions: Predictions for the test part.
        row: Row of the cell.
        side: Least side of the picture in pixels.

    Returns:
        A wandb image with the cell's id as its caption.
    """
    return wandb.Image(overlay_cell(predictions, row, side), caption=str(predictions.id[row]))


def cell_table(predictions: Predictions, rows: list[int], side: int = 256) -> Any:
    """Make a table of cells: a picture with both outlines, and what is known of each cell.

    Columns are id, specimen, true and predicted class, Dice and probabilities; fields of what the
    method does not predict are empty.

    Args:
        predictions: Predictions for the test part.
        rows: Rows of the cells.
        side: Least side of the pictures in pixels.

    Returns:
        A wandb table.
    """
    probabilities = [f"p({name})" for name in predictions.classes]
    columns = ["cell", "id", "specimen", "true", "predicted", "dice", *probabilities]
    dice = predictions.dice
    scores = predictions.probabilities
    data = [
        [
            picture_of(predictions, row, side),
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
