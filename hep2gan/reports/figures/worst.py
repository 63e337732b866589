"""The cells a method is worst at, as pictures: where to look first."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.reports.figures import style
from hep2gan.reports.figures.contours import add_outline_legend, plot_image, plot_outlines
from hep2gan.reports.figures.labels import fit_text, short_names
from hep2gan.reports.selection import confident_errors, lowest_dice
from hep2gan.runs.predictions import Predictions

COUNT = 20
_COLUMNS = 5
_WIDTH = style.PAGE / _COLUMNS - 0.14
"""Inches that a line above a picture may take."""


def plot_worst_segmented(predictions: Predictions) -> Figure | None:
    """Plot the COUNT cells of lowest Dice with both outlines; None without a generator."""
    if predictions.mask is None or not len(predictions.label):
        return None
    rows = lowest_dice(predictions, COUNT)
    figure, axes = _new_grid(len(rows), legend=0.25)
    names = short_names(predictions.classes, 0.47 * _WIDTH)
    for ax, row in zip(axes, rows, strict=True):
        plot_image(ax, predictions.image[row])
        plot_outlines(ax, predictions, row)
        dice, name = f"Dice {predictions.dice[row]:.3f}", names[predictions.label[row]]
        _add_caption(ax, dice, name, predictions, row)
    add_outline_legend(figure, generated=True)
    return figure


def plot_worst_classified(predictions: Predictions) -> Figure | None:
    """Plot at most COUNT misread cells, those most sure of the wrong class first.

    None without a classifier and when every cell is read right.
    """
    rows = [] if predictions.probabilities is None else confident_errors(predictions, COUNT)
    if not rows:
        return None
    names = short_names(predictions.classes, (_WIDTH - 0.5) / 2)
    stacked = any(name.endswith("…") for name in names)
    if stacked:
        names = short_names(predictions.classes, _WIDTH - 0.42, limit=40)
    between = "\n" if stacked else " "
    figure, axes = _new_grid(len(rows), text=0.43 if stacked else 0.32)
    probabilities, predicted = predictions.require_probabilities(), predictions.predicted
    for ax, row in zip(axes, rows, strict=True):
        plot_image(ax, predictions.image[row])
        guess = predicted[row]
        reading = f"{names[predictions.label[row]]}{between}read as {names[guess]}"
        _add_caption(ax, reading, f"{100 * probabilities[row, guess]:.1f} %", predictions, row)
    return figure


def _new_grid(count: int, *, text: float = 0.32, legend: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Return a figure with places for `count` square pictures, five a row.

    text, legend: inches above each picture, and below all.
    """
    lines = -(-count // _COLUMNS)
    side = style.PAGE / _COLUMNS
    figure = style.new_figure(style.PAGE, lines * (side + text) + legend)
    axes = list(figure.subplots(lines, _COLUMNS, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def _add_caption(ax: Axes, first: str, second: str, predictions: Predictions, row: int) -> None:
    """Put short lines above a picture: what went wrong; how, and which cell."""
    cell = fit_text(str(predictions.id[row]), 0.47 * _WIDTH, style.SMALL)
    ax.set_title(f"{first}\n{second} · {cell}", fontsize=style.SMALL, color=style.INK, pad=3)
