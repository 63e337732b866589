"""Reliability diagrams: accuracy by confidence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.calibration import (
    Reliability,
    expected_calibration_error,
    reliability,
)
from hep2gan.statistics.significance import wilson
from hep2gan.statistics.trust import scale_test

_SHARED = {"markersize": 3.6, "linewidth": 1.1, "clip_on": False}
"""A marker at a confidence of 1 is not cut in half."""
_BEFORE: dict[str, Any] = _SHARED | {
    "color": style.OKABE_ITO[0],
    "marker": "o",
    "linestyle": "-",
    "label": "as trained, 95 % interval",
}
_AFTER: dict[str, Any] = _SHARED | {
    "color": style.OKABE_ITO[3],
    "marker": "s",
    "markerfacecolor": "white",
    "linestyle": (0, (4, 1.5)),
    "label": "after temperature scaling",
}


def plot_calibration(predictions: Predictions) -> Figure | None:
    """Plot the reliability diagram of one method.

    Args:
        predictions: Predictions of the method.

    Returns:
        The figure; None without a classifier.
    """
    return plot_calibration_by_method({"": predictions})


def plot_calibration_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot each method's accuracy by confidence, and below it the distribution of the confidence.

    Both are plotted as trained, and scaled by a temperature that is fitted on the validation part
    or the other half of the cells (see `scale_test`; left out if all cells are of one specimen).

    Args:
        methods: Predictions by title of the method; methods without a classifier are left out.

    Returns:
        The figure; None if no method is left.

    Raises:
        Hep2ganError: If classes differ.
    """
    methods = style.methods_with(methods, "probabilities")
    if not methods:
        return None
    figure, headings, axes = style.method_panels(
        list(methods), [style.PAGE / style.COLUMNS, 0.9], foot=0.3
    )
    curves = [_BEFORE]
    for (upper, lower), heading, predictions in zip(axes, headings, methods.values(), strict=True):
        before, after = reliability(predictions.require_probabilities(), predictions.label), None
        note = f"ECE {100 * expected_calibration_error(before):.1f} %"
        if (scaled := scale_test(predictions)) is not None:
            after = reliability(scaled.probabilities, predictions.label)
            note += f" → {100 * expected_calibration_error(after):.1f} %"
            note += f" (T = {', '.join(f'{one:.2f}' for one in scaled.temperatures)})"
            curves = [_BEFORE, _AFTER]
        _plot_accuracies(upper, before, after)
        _plot_confidences(lower, before, after)
        style.add_heading(upper, heading, note)
    style.drop_inner_ylabels(axes)
    style.legend_below(figure, [Line2D([], [], **curve) for curve in curves])
    return figure


def _plot_accuracies(ax: Axes, before: Reliability, after: Reliability | None) -> None:
    """Plot accuracy by confidence in 15 bins of equal width.

    Dots lie at the mean confidence of their cells, with the Wilson interval of the accuracy.
    """
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.8, linestyle=":", label="_perfect")
    filled = np.flatnonzero(before.cells)
    ax.plot(before.confidence[filled], before.accuracy[filled], **_BEFORE)
    low, high = np.transpose(
        [wilson(int(before.right[one]), int(before.cells[one])) for one in filled]
    )
    ax.vlines(
        before.confidence[filled], low, high, color=_BEFORE["color"], linewidth=0.8, clip_on=False
    )
    if after is not None:
        filled = np.flatnonzero(after.cells)
        ax.plot(after.confidence[filled], after.accuracy[filled], **_AFTER)
    style.style_axes(ax, ylabel="accuracy")
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02))


def _plot_confidences(ax: Axes, before: Reliability, after: Reliability | None) -> None:
    """Plot which share of the cells, in per cent, lies in each bin of confidence."""
    cells = before.cells.sum()
    ax.stairs(
        100 * before.cells / cells, before.edges, fill=True, color=_BEFORE["color"], alpha=0.45
    )
    if after is not None:
        ax.stairs(
            100 * after.cells / cells,
            before.edges,
            linewidth=1.2,
            color=_AFTER["color"],
            linestyle=_AFTER["linestyle"],
            clip_on=False,
        )
    style.style_axes(ax, xlabel="confidence", ylabel="cells (%)")
    ax.set(xlim=(0, 1), ylim=(0, 102), yticks=[0, 50, 100])
