"""The confusion matrix: counts and shares of each true class (the paper's Fig. 3)."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions

_LEAST_FIELD = 0.3
"""Least side of a field in inches: two lines of text, up to 98.6 % or 2494."""


def plot_confusion(predictions: Predictions) -> Figure | None:
    """Plot the confusion matrix of one method.

    Args:
        predictions: Predictions of the method.

    Returns:
        The figure; None without a classifier or cells.
    """
    if predictions.probabilities is None or not len(predictions.label):
        return None
    side = max(style.COLUMN, _side(predictions.classes, 0.46))
    figure = style.new_figure(side, side * 0.97)
    _plot_matrix(figure.subplots(), predictions)
    return figure


def plot_confusion_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot the confusion matrices of several methods with one colour scale.

    At most three are placed side by side, fewer if there are many classes.

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
    classes = next(iter(methods.values())).classes
    columns = max(1, min(style.COLUMNS, int(style.PAGE / _side(classes, _LEAST_FIELD))))
    figure, headings, axes = style.method_panels(
        list(methods), [style.PAGE / columns - 0.05], columns, foot=0.45
    )
    for (ax,), heading, predictions in zip(axes, headings, methods.values(), strict=True):
        _plot_matrix(ax, predictions, heading, unit="")
        ax.set_anchor("N")
    _add_scale(figure, axes[0][0])
    return figure


def confusion_counts(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Count cells by true and predicted class.

    Args:
        predictions: Predictions of one method.

    Returns:
        (K, K) numbers of cells: rows the true class, columns the predicted one.

    Raises:
        Hep2ganError: If the method has no classifier.
    """
    size = len(predictions.classes)
    pairs = predictions.label * size + predictions.predicted
    return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)


def _side(classes: Sequence[str], field: float) -> float:
    """Return the width of a matrix with its labels in inches, from that of a field."""
    longest = max(len(name) for name in style.short_names(classes))
    return 0.25 + 0.07 * longest + field * len(classes)


def _plot_matrix(ax: Axes, predictions: Predictions, name: str = "", unit: str = " %") -> None:
    """Plot counts with the percentage of their row; above them `name` and the accuracy.

    Shades of one hue encode the percentages, so that they are readable without colour.
    """
    counts = confusion_counts(predictions)
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    _label_axes(ax, predictions.classes)
    for true, guess in np.ndindex(*counts.shape):
        percent = "100" if share[true, guess] == 1 else f"{100 * share[true, guess]:.1f}"
        text = f"{counts[true, guess]}\n{percent}{unit}"
        if not totals[true, 0]:
            text = "–"
        elif not counts[true, guess]:
            text = "0"
        ink = style.INK if counts[true, guess] else style.QUIET
        ink = style.ink_on_blue(share[true, guess], ink)
        ax.text(guess, true, text, ha="center", va="center", color=ink, fontsize=style.SMALL)
    right, cells = int(np.trace(counts)), int(counts.sum())
    style.add_heading(ax, name, f"Accuracy {100 * right / cells:.2f} % ({right} of {cells})")


def _label_axes(ax: Axes, classes: Sequence[str]) -> None:
    """Label rows and columns, and draw white lines between the fields."""
    names = style.short_names(classes)
    places = np.arange(len(names))
    rotation = 90 if max(len(name) for name in names) > 5 else 0
    for axis, words, turn in ((ax.xaxis, "predicted", rotation), (ax.yaxis, "true", 0)):
        axis.set_ticks(places, names, fontsize=style.LABEL, color=style.INK, rotation=turn)
        axis.set_label_text(words, fontsize=style.LABEL, color=style.INK)
        axis.set_ticks(places[1:] - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)


def _add_scale(figure: Figure, ax: Axes) -> None:
    """Put the colour scale below the matrices; its label explains the percentages."""
    width, height = figure.get_size_inches()
    bar = figure.colorbar(
        ax.images[0],
        ax=figure.axes,
        location="bottom",
        panchor=False,  # the matrices stay at the top of their places
        fraction=0.1 / height,
        pad=0.05 / height,
        aspect=30,
        shrink=min(1.0, 2.4 / width),
        ticks=[0, 0.25, 0.5, 0.75, 1],
        format=lambda share, _: f"{100 * share:.0f}",
    )
    bar.set_label(
        "below each count: share of the true class in %", fontsize=style.SMALL, color=style.INK
    )
    bar.ax.tick_params(labelsize=style.SMALL, length=2, width=0.6, labelcolor=style.INK)
    bar.outline.set_visible(False)
