"""Accuracy by training set and test set, as a heat map with numbers."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hep2gan.reports.external import CrossSet
from hep2gan.reports.figures import style

_FIELD = (0.95, 0.42)
"""Width and height of a field in inches: a number, and its interval below."""
_WRAP = 22
"""Letters of a name before it is broken into lines."""


def plot_cross_set(matrix: CrossSet) -> Figure | None:
    """Plot a row a method and a column a set; frames mark the methods' own test cells.

    Args:
        matrix: The measures.

    Returns:
        The figure of their accuracies; None without any.
    """
    if not any(any(row.of("accuracy")) for row in matrix.rows):
        return None
    names = style.wrap_headings([row.method.title for row in matrix.rows], _WRAP)
    sets = style.wrap_headings(list(matrix.sets), 14)
    longest = max(len(line) for name in names for line in name.split("\n"))
    width = max(style.COLUMN, 0.5 + 0.07 * longest + _FIELD[0] * len(sets))
    lines = max(name.count("\n") + 1 for name in sets)
    figure = style.new_figure(width, 0.5 + 0.13 * lines + _FIELD[1] * len(names))
    ax = figure.subplots()
    shares = np.array(
        [[np.nan if e is None else e.mean for e in row.of("accuracy")] for row in matrix.rows]
    )
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(matrix.rows):
        for x, one in enumerate(row.of("accuracy")):
            text = "–" if one is None else f"{100 * one.mean:.1f}"
            if one is not None and one.interval is not None:
                text += f"\n{100 * one.interval.low:.1f}–{100 * one.interval.high:.1f}"
            ink = style.ink_on_blue(0.0 if one is None else one.mean, style.INK)
            ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=style.SMALL)
        ax.add_patch(
            Rectangle((row.own - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor=style.INK)
        )
    for axis, words, label in ((ax.xaxis, sets, "tested on"), (ax.yaxis, names, "")):
        axis.set_ticks(np.arange(len(words)), words, fontsize=style.LABEL, color=style.INK)
        axis.set_label_text(label, fontsize=style.LABEL, color=style.INK)
        axis.set_ticks(np.arange(1, len(words)) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.grid(visible=False, which="major")
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    return figure
