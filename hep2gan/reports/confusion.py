"""The confusion matrix: counts and shares of each true class (the paper's Fig. 3)."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.predictions import Predictions
from hep2gan.reports import style


def confusion_counts(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Return (K, K) numbers of cells: rows the true class, columns the predicted one.

    Raises Hep2ganError without a classifier.
    """
    size = len(predictions.classes)
    pairs = predictions.label * size + predictions.predicted
    return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)


def confusion(predictions: Predictions) -> Figure | None:
    """Draw counts with the percentage of their row, or None without a classifier or cells.

    Shades run over the percentages in one hue, so that they read without colour as well.
    """
    if predictions.probabilities is None or not len(predictions.label):
        return None
    counts = confusion_counts(predictions)
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    longest = max(len(name) for name in style.short_names(predictions.classes))
    side = max(style.COLUMN, 0.7 + 0.08 * longest + 0.46 * len(counts))
    figure = style.new_figure(side, side * 0.97)
    ax = figure.subplots()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    _label(ax, predictions)
    for true, guess in np.ndindex(*counts.shape):
        text = f"{counts[true, guess]}\n{_percent(share[true, guess])}"
        if not totals[true, 0]:
            text = "–"
        elif not counts[true, guess]:
            text = "0"
        ink = style.INK if counts[true, guess] else style.QUIET
        ink = "white" if share[true, guess] > 0.55 else ink
        ax.text(guess, true, text, ha="center", va="center", color=ink, fontsize=style.SMALL)
    right, cells = int(np.trace(counts)), int(counts.sum())
    title = f"Accuracy {100 * right / cells:.2f} % ({right} of {cells})"
    ax.set_title(title, fontsize=style.TITLE, color=style.INK)
    return figure


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{100 * share:.1f} %"


def _label(ax: Axes, predictions: Predictions) -> None:
    """Name rows and columns, and rule white lines between the fields."""
    names = style.short_names(predictions.classes)
    places = np.arange(len(names))
    turned = 90 if max(len(name) for name in names) > 5 else 0
    ax.set_xticks(places, names, fontsize=style.LABEL, color=style.INK, rotation=turned)
    ax.set_yticks(places, names, fontsize=style.LABEL, color=style.INK)
    ax.set_xlabel("predicted", fontsize=style.LABEL, color=style.INK)
    ax.set_ylabel("true", fontsize=style.LABEL, color=style.INK)
    ax.set_xticks(places[1:] - 0.5, minor=True)
    ax.set_yticks(places[1:] - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
