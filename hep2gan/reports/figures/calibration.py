"""Reliability diagrams: how often cells are read right, by how sure the classifier is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.style import COLUMNS, head_room, key_below, methods_with, stacks
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.calibration import (
    CrossFittedTemperature,
    Reliability,
    cross_fit_temperature,
    expected_calibration_error,
    reliability,
)
from hep2gan.statistics.intervals import wilson

_SHARED = {"markersize": 3.6, "linewidth": 1.1}
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


def calibration(predictions: Predictions, *, seed: int = 0) -> Figure | None:
    """Draw one method's reliability diagram; None without a classifier. See `plot_reliability`."""
    return figure_calibration({"": predictions}, seed=seed)


def figure_calibration(
    predictions_by_name: Mapping[str, Predictions], *, seed: int = 0
) -> Figure | None:
    """Draw each method's accuracy by confidence, and below it how many cells are how sure.

    Once as trained and once scaled by a temperature that is fitted on the other half of the cells
    (see `temperature.cross_fitted`; left out where all cells are of one specimen). Methods without
    a classifier are left out; None when no method is left. Raises Hep2ganError when classes differ.
    """
    methods = methods_with(predictions_by_name, "probabilities")
    if not methods:
        return None
    side = style.PAGE / COLUMNS
    names = style.wrap_headings(list(methods), int(side / 0.078))
    figure, panels = stacks(len(methods), [side + head_room(names), 0.9], foot=0.3)
    found = [scaled_probabilities(predictions, seed) for predictions in methods.values()]
    for place, predictions in enumerate(methods.values()):
        (upper, lower), scaled = panels[place], found[place]
        error = plot_reliability(upper, predictions, scaled)
        plot_confidences(lower, predictions, scaled)
        style.add_heading(upper, names[place], error)
        for ax in (upper, lower) if place % COLUMNS else ():
            ax.set_ylabel("")
    looks = [_BEFORE, _AFTER] if any(found) else [_BEFORE]
    key_below(figure, [Line2D([], [], **look) for look in looks], entry=1.7)
    return figure


def scaled_probabilities(predictions: Predictions, seed: int = 0) -> CrossFittedTemperature | None:
    """Return the probabilities after cross-fitted scaling; None when they cannot be halved.

    Raises Hep2ganError without a classifier.
    """
    specimen = predictions.specimen
    known = specimen >= 0
    if len(known) < 2 or (known.all() and len(np.unique(specimen)) < 2):
        return None
    return cross_fit_temperature(_probabilities(predictions), predictions.label, specimen, seed)


def plot_reliability(
    ax: Axes, predictions: Predictions, scaled: CrossFittedTemperature | None
) -> str:
    """Draw accuracy by confidence in 15 bins of equal width; return a line with the errors.

    Dots lie at the mean confidence of their cells, with the Wilson interval of the accuracy.
    Raises Hep2ganError without a classifier.
    """
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.8, linestyle=":", label="_perfect")
    found = reliability(_probabilities(predictions), predictions.label)
    note = f"ECE {100 * expected_calibration_error(found):.1f} %"
    _draw_bins(ax, found, _BEFORE)
    _draw_intervals(ax, found)
    if scaled is not None:
        after = reliability(scaled.probabilities, predictions.label)
        _draw_bins(ax, after, _AFTER)
        note += f" → {100 * expected_calibration_error(after):.1f} %"
        note += " (T = {:.2f}, {:.2f})".format(*scaled.temperatures)
    style.style_axes(ax, ylabel="accuracy")
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    return note


def plot_confidences(
    ax: Axes, predictions: Predictions, scaled: CrossFittedTemperature | None
) -> None:
    """Draw which share of the cells, in per cent, lies in each bin of confidence.

    Raises Hep2ganError without a classifier.
    """
    found = reliability(_probabilities(predictions), predictions.label)
    cells = found.cells.sum()
    ax.stairs(100 * found.cells / cells, found.edges, fill=True, color=_BEFORE["color"], alpha=0.45)
    if scaled is not None:
        after = reliability(scaled.probabilities, predictions.label).cells
        line = {"color": _AFTER["color"], "linestyle": _AFTER["linestyle"], "linewidth": 1.2}
        ax.stairs(100 * after / cells, found.edges, **line)
    style.style_axes(ax, xlabel="confidence", ylabel="cells (%)")
    ax.set(xlim=(0, 1), ylim=(0, 102), yticks=[0, 50, 100])


def _draw_bins(ax: Axes, found: Reliability, look: dict[str, Any]) -> None:
    filled = found.cells > 0
    ax.plot(found.confidence[filled], found.accuracy[filled], **look)


def _draw_intervals(ax: Axes, found: Reliability) -> None:
    filled = np.flatnonzero(found.cells)
    ends = [wilson(int(found.right[one]), int(found.cells[one])) for one in filled]
    low, high = np.array(ends).T
    ax.vlines(found.confidence[filled], low, high, color=_BEFORE["color"], linewidth=0.8)


def _probabilities(predictions: Predictions) -> npt.NDArray[np.float32]:
    if predictions.probabilities is None:
        raise Hep2ganError("these predictions hold no class probabilities")
    return predictions.probabilities
