"""Pictures of cells with the outlines of their masks: typical cells, and the worst results.

Which cells a figure shows is chosen by rule, never by hand. Typical ones are the paper's Fig. 2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import FOREGROUND, Predictions

_TRUE_WIDTH, _PREDICTED_WIDTH = 1.7, 0.9  # points; the wider line below is visible where both agree
_COLUMNS = 6
_NAME, _NOTE, _HIGHEST = 0.35, 0.16, 9.0
"""Inches: width of row names, height of a note below a picture, height of a page."""
_DICE, _GAP = 0.72, 0.14
"""Inches: width of `Dice 0.972 · `, gap between neighbours."""
_BELOW = {"ha": "center", "va": "top"}
COUNT = 20
_ACROSS = 5
_WIDTH = style.PAGE / _ACROSS - 0.14
"""Largest width of a line above a picture in inches."""


def plot_contours(predictions: Predictions) -> Figure | None:
    """Plot one cell of each class: above the image, below it the outlines.

    The cell of median Dice of each class is shown (see `typical_cells`), six classes a row.

    Args:
        predictions: Predictions of one method.

    Returns:
        The figure; None if there are no cells or no masks.
    """
    chosen = typical_cells(predictions)
    return _plot_grid({"": predictions}, [chosen]) if chosen else None


def plot_contours_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot one cell of each class, the same for all methods: its image, then outlines by method.

    The cell of median Dice of the first method is shown, among the cells that all methods have.

    Args:
        methods: Predictions by title of the method; methods without masks are left out.

    Returns:
        The figure; None if no cell or no method is left.

    Raises:
        Hep2ganError: If classes differ.
    """
    methods = style.methods_with(methods, "mask")
    if not methods:
        return None
    first, *others = methods.values()
    common = np.isin(first.id, sorted(set(first.id).intersection(*(one.id for one in others))))
    chosen = typical_cells(first, common)
    rows_of = [
        {label: int(np.flatnonzero(one.id == first.id[row])[0]) for label, row in chosen.items()}
        for one in methods.values()
    ]
    return _plot_grid(methods, rows_of) if chosen else None


def plot_image(ax: Axes, image: npt.NDArray[np.uint8]) -> None:
    """Show an image without a frame or ticks.

    Args:
        ax: Axes to draw in.
        image: (H, W) grey levels 0..255.
    """
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])  # invisible ticks still cost time to lay out


def plot_outlines(ax: Axes, predictions: Predictions, row: int) -> None:
    """Plot the outlines that there are: the true one in green, the generated one in purple.

    Args:
        ax: Axes to draw in.
        predictions: Predictions of one method.
        row: Index of the cell.
    """
    if predictions.truth is not None:
        _plot_outline(ax, predictions.truth[row], 0.5, style.TRUTH, _TRUE_WIDTH)
    if predictions.mask is not None:
        _plot_outline(
            ax, predictions.mask[row], FOREGROUND - 0.5, style.PREDICTION, _PREDICTED_WIDTH
        )


def add_outline_legend(figure: Figure, predictions: Predictions) -> None:
    """Put the legend of the outlines below the figure.

    Args:
        figure: Figure to draw in.
        predictions: The method whose outlines it shows.
    """
    lines = (
        (predictions.mask, style.PREDICTION, _PREDICTED_WIDTH, "prediction"),
        (predictions.truth, style.TRUTH, _TRUE_WIDTH, "ground truth"),
    )
    handles = [
        Line2D([], [], color=color, linewidth=width, label=label)
        for masks, color, width, label in lines
        if masks is not None
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=style.LABEL,
        handlelength=1.6,
    )


def _plot_outline(
    ax: Axes, mask: npt.NDArray[np.uint8], level: float, color: str, width: float
) -> None:
    """Plot the outline of an (H, W) mask at `level`, closed where it touches the border.

    An empty mask has no outline. Pixel centres lie at whole numbers, as in `imshow`.
    """
    if not (mask > level).any():
        return
    height, breadth = mask.shape
    ax.contour(
        np.arange(-1, breadth + 1),
        np.arange(-1, height + 1),
        np.pad(mask.astype(np.float32), 1),
        levels=[level],
        colors=[color],
        linewidths=[width],
    )
    ax.set(xlim=(-0.5, breadth - 0.5), ylim=(height - 0.5, -0.5))


def _plot_grid(methods: Mapping[str, Predictions], rows_of: Sequence[Mapping[int, int]]) -> Figure:
    """Plot in columns the images that the first method saw, then the outlines of each method.

    rows_of: of each method, label to row of its predictions.
    """
    first, labels, named = next(iter(methods.values())), list(rows_of[0]), any(methods)
    depth, margin = 1 + len(methods), _NAME if named else 0.0
    columns, side = _largest_pictures(len(labels), depth, style.PAGE - margin)
    blocks = -(-len(labels) // columns)
    figure, grid = _new_grid(columns, blocks, depth, side, margin)
    names = _fit_names(first.classes, side - _GAP)
    for place, label in enumerate(labels):
        block, column = divmod(place, columns)
        top, *below = grid[depth * block : depth * (block + 1), column]
        plot_image(top, first.image[rows_of[0][label]])
        top.set_title(names[label], fontsize=style.LABEL, color=style.INK)
        if named:
            cell = _fit_id(first, rows_of[0][label], side)
            style.add_text(top, 0.5, -0.03, cell, style.QUIET, **_BELOW)
        for ax, predictions, rows in zip(below, methods.values(), rows_of, strict=True):
            _plot_cell(ax, predictions, rows[label], side, with_id=not named)
    if named:
        beside = grid.reshape(blocks, depth, columns)[:, 1:, 0]
        _name_rows(beside, list(methods), figure.get_figheight() / len(grid))
    add_outline_legend(figure, first)
    return figure


def _fit_names(classes: Sequence[str], room: float) -> list[str]:
    """Cut names to `room` inches; they are abbreviated if they are no longer told apart."""
    names = [style.fit_text(name, room, style.LABEL) for name in classes]
    if len(set(names)) == len(names):
        return names
    return style.short_names(classes, room * style.SMALL / style.LABEL)


def _largest_pictures(classes: int, depth: int, width: float) -> tuple[int, float]:
    """Return the columns, six or more, and the side in inches of the largest pictures on a page.

    depth: pictures of one class below each other.
    """
    sides = {}
    for columns in range(min(classes, _COLUMNS), classes + 1):
        blocks = -(-classes // columns)
        high = (_HIGHEST / blocks - 0.3) / depth - _NOTE
        sides[columns] = min(width / max(columns, 4), high)
    columns = max(sides, key=lambda columns: sides[columns])
    return columns, sides[columns]


def _new_grid(
    columns: int, blocks: int, depth: int, side: float, margin: float
) -> tuple[Figure, npt.NDArray[np.object_]]:
    """Return a figure of blocks x depth rows of square pictures of `side` inches."""
    height = blocks * (depth * (side - 0.06 + _NOTE) + 0.15) + 0.25
    figure = style.new_figure(side * columns + margin, height)
    grid = figure.subplots(depth * blocks, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
        ax.set_anchor("N")
    return figure, grid


def _plot_cell(ax: Axes, predictions: Predictions, row: int, room: float, *, with_id: bool) -> None:
    """Plot a cell's outlines, below them, in `room` inches, its Dice and its id."""
    plot_image(ax, predictions.image[row])
    plot_outlines(ax, predictions, row)
    words = []
    if (dice := predictions.dice) is not None:
        words.append("Dice " * (room >= _DICE) + f"{dice[row]:.3f}")
    if with_id:
        words.append(_fit_id(predictions, row, room - _DICE * len(words)))
    style.add_text(ax, 0.5, -0.03, " · ".join(words), style.QUIET, **_BELOW)


def _name_rows(axes: npt.NDArray[Any], names: Sequence[str], height: float) -> None:
    """Put the methods' names upright at the left of their rows of `height` inches.

    axes: (blocks, methods).
    """
    headings = style.wrap_headings(names, int((height - _NOTE) / 0.063))
    for (_, method), ax in np.ndenumerate(axes):
        style.add_text(ax, -0.04, 0.5, headings[method], ha="right", va="center", rotation=90)


def _fit_id(predictions: Predictions, row: int, room: float) -> str:
    return style.fit_text(str(predictions.id[row]), room - _GAP, style.SMALL, keep_end=True)


def plot_worst_segmented(predictions: Predictions) -> Figure | None:
    """Plot the `COUNT` cells of lowest Dice with both outlines.

    Args:
        predictions: Predictions of one method.

    Returns:
        The figure; None without generated and true masks, or without cells.
    """
    if predictions.dice is None or not len(predictions.label):
        return None
    rows = lowest_dice(predictions, COUNT)
    figure, axes = _new_pictures(len(rows), legend=0.25)
    names = style.short_names(predictions.classes, 0.47 * _WIDTH)
    for ax, row in zip(axes, rows, strict=True):
        plot_image(ax, predictions.image[row])
        plot_outlines(ax, predictions, row)
        name = names[predictions.label[row]]
        _add_caption(ax, f"Dice {predictions.dice[row]:.3f}", name, predictions, row)
    add_outline_legend(figure, predictions)
    return figure


def plot_worst_classified(predictions: Predictions) -> Figure | None:
    """Plot up to `COUNT` misclassified cells, in descending order of confidence.

    Args:
        predictions: Predictions of one method.

    Returns:
        The figure; None without a classifier, or if every cell is classified correctly.
    """
    rows = [] if predictions.probabilities is None else confident_errors(predictions, COUNT)
    if not rows:
        return None
    names = style.short_names(predictions.classes, (_WIDTH - 0.5) / 2)
    stacked = any(name.endswith("…") for name in names)
    if stacked:
        names = style.short_names(predictions.classes, _WIDTH - 0.42, limit=40)
    between = "\n" if stacked else " "
    figure, axes = _new_pictures(len(rows), text=0.43 if stacked else 0.32)
    probabilities, predicted = predictions.require_probabilities(), predictions.predicted
    for ax, row in zip(axes, rows, strict=True):
        plot_image(ax, predictions.image[row])
        guess = predicted[row]
        reading = f"{names[predictions.label[row]]}{between}read as {names[guess]}"
        _add_caption(ax, reading, f"{100 * probabilities[row, guess]:.1f} %", predictions, row)
    return figure


def _new_pictures(
    count: int, *, text: float = 0.32, legend: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with places for `count` square pictures, five a row.

    text, legend: inches above each picture, and below all.
    """
    lines = -(-count // _ACROSS)
    side = style.PAGE / _ACROSS
    figure = style.new_figure(style.PAGE, lines * (side + text) + legend)
    axes = list(figure.subplots(lines, _ACROSS, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def _add_caption(ax: Axes, first: str, second: str, predictions: Predictions, row: int) -> None:
    """Put short lines above a picture: what went wrong; how, and which cell."""
    cell = style.fit_text(str(predictions.id[row]), 0.47 * _WIDTH, style.SMALL, keep_end=True)
    ax.set_title(f"{first}\n{second} · {cell}", fontsize=style.SMALL, color=style.INK, pad=3)


def typical_cells(
    predictions: Predictions, among: npt.NDArray[np.bool_] | None = None
) -> dict[int, int]:
    """Select one cell of each class.

    It is the cell of median Dice (the lower of two); where only generated or only true masks are
    known, that of median size. The first row wins a tie.

    Args:
        predictions: Predictions of one method.
        among: (N,) true for the cells to select from; None for all.

    Returns:
        Index of the cell by label; classes without cells are left out. Empty without masks.
    """
    value = predictions.dice
    if value is None:
        if predictions.truth is None and predictions.mask is None:
            return {}
        masks = predictions.foreground if predictions.truth is None else predictions.truth
        value = np.array([np.count_nonzero(mask) / mask.size for mask in masks])
    chosen: dict[int, int] = {}
    for label in range(len(predictions.classes)):
        candidates = predictions.label == label
        rows = np.flatnonzero(candidates if among is None else candidates & among)
        if rows.size:
            ranked = rows[np.argsort(value[rows], kind="stable")]
            chosen[label] = int(ranked[(rows.size - 1) // 2])
    return chosen


def lowest_dice(predictions: Predictions, count: int) -> list[int]:
    """Find the cells of lowest Dice.

    Args:
        predictions: Predictions of one method.
        count: Number of cells.

    Returns:
        Up to `count` indices, lowest Dice first; none without generated and true masks.
    """
    if predictions.dice is None:
        return []
    return [int(row) for row in np.argsort(predictions.dice, kind="stable")[:count]]


def confident_errors(predictions: Predictions, count: int) -> list[int]:
    """Find the misclassified cells of highest confidence.

    Args:
        predictions: Predictions of one method.
        count: Number of cells.

    Returns:
        Up to `count` indices, highest probability of the wrong class first.

    Raises:
        Hep2ganError: If the method has no classifier.
    """
    confidence = predictions.require_probabilities().max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.label)
    return [int(row) for row in wrong[np.argsort(-confidence[wrong], kind="stable")][:count]]
