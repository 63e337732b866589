"""Contours of generated and true masks, one column a class (the paper's Fig. 2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.figures.labels import fit_text, wrap_headings
from hep2gan.reports.figures.panels import methods_with
from hep2gan.reports.selection import typical_cells
from hep2gan.runs.predictions import FOREGROUND, Predictions

_TRUE_WIDTH, _PREDICTED_WIDTH = 1.7, 0.9  # points; the lower line shows where they agree
_COLUMNS = 6
_NAME, _NOTE, _HIGHEST = 0.35, 0.16, 9.0
"""Inches: beside the rows for names, below a picture for its note, a page without its caption."""
_DICE, _GAP = 0.72, 0.14
"""Inches that `Dice 0.972 · ` takes, and that stay free between neighbours."""


def plot_contours(predictions: Predictions) -> Figure | None:
    """Plot one cell a class: above the image, below it the outlines.

    Shown is the cell of median Dice of each class. Six classes a row. None when there are no cells.
    """
    chosen = typical_cells(predictions)
    return _plot_grid({"": predictions}, [chosen]) if chosen else None


def plot_contours_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot one cell a class, the same for all methods: its image, then a row of outlines a method.

    Shown is the cell of median Dice of the first method that segments, among the cells that all
    of them have. Methods without masks are left out; None when no cell or no method is left.
    Raises Hep2ganError when classes differ.
    """
    methods = methods_with(methods, "mask")
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
    """Show (H, W) grey levels 0..255 without a frame or ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])  # invisible ticks still cost time to lay out


def plot_outlines(ax: Axes, predictions: Predictions, row: int) -> None:
    """Plot the true outline in green and, where there is one, the generated one in purple."""
    _plot_outline(ax, predictions.truth[row], 0.5, style.TRUTH, _TRUE_WIDTH)
    if predictions.mask is not None:
        level = FOREGROUND - 0.5
        _plot_outline(ax, predictions.mask[row], level, style.PREDICTION, _PREDICTED_WIDTH)


def add_outline_legend(figure: Figure, *, generated: bool) -> None:
    """Put the legend of the two outlines below the figure."""
    handles = [Line2D([], [], color=style.TRUTH, linewidth=_TRUE_WIDTH, label="ground truth")]
    if generated:
        line: dict[str, Any] = {"color": style.PREDICTION, "linewidth": _PREDICTED_WIDTH}
        handles.insert(0, Line2D([], [], label="prediction", **line))
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
    padded = np.pad(mask.astype(np.float32), 1)
    x, y = np.arange(-1, breadth + 1), np.arange(-1, height + 1)
    ax.contour(x, y, padded, levels=[level], colors=[color], linewidths=[width])
    ax.set_xlim(-0.5, breadth - 0.5)
    ax.set_ylim(height - 0.5, -0.5)


def _plot_grid(methods: Mapping[str, Predictions], rows_of: Sequence[Mapping[int, int]]) -> Figure:
    """Plot in columns the images that the first method saw, then the outlines of each method.

    rows_of: of each method, label to row of its predictions.
    """
    first, labels, named = next(iter(methods.values())), list(rows_of[0]), any(methods)
    columns, blocks, depth = (
        min(len(labels), _COLUMNS),
        -(-len(labels) // _COLUMNS),
        1 + len(methods),
    )
    margin = _NAME if named else 0.0
    # No larger than a page.
    widest = (style.PAGE - margin) / max(columns, 4)
    side = min(widest, (_HIGHEST / blocks - 0.3) / depth - _NOTE)
    figure, grid = _new_grid(columns, blocks, depth, side, margin)
    for place, label in enumerate(labels):
        block, column = divmod(place, _COLUMNS)
        top, *below = grid[depth * block : depth * (block + 1), column]
        plot_image(top, first.image[rows_of[0][label]])
        name = fit_text(first.classes[label], side - _GAP, style.LABEL)
        top.set_title(name, fontsize=style.LABEL, color=style.INK)
        if named:
            _add_note(top, _fit_id(first, rows_of[0][label], side))
        for ax, predictions, rows in zip(below, methods.values(), rows_of, strict=True):
            _plot_cell(ax, predictions, rows[label], 0.0 if named else side)
    if named:
        for block in range(blocks):
            first_column = grid[depth * block + 1 : depth * (block + 1), 0]
            _name_rows(list(first_column), list(methods), figure.get_figheight() / len(grid))
    add_outline_legend(figure, generated=first.mask is not None)
    return figure


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


def _plot_cell(ax: Axes, predictions: Predictions, row: int, room: float) -> None:
    """Plot a cell's outlines, below them its Dice and, with `room` in inches for both, its id."""
    plot_image(ax, predictions.image[row])
    plot_outlines(ax, predictions, row)
    words = [] if predictions.mask is None else [f"Dice {predictions.dice[row]:.3f}"]
    if room:
        words.append(_fit_id(predictions, row, room - _DICE * len(words)))
    _add_note(ax, " · ".join(words))


def _fit_id(predictions: Predictions, row: int, room: float) -> str:
    return fit_text(str(predictions.id[row]), room - _GAP, style.SMALL)


def _add_note(ax: Axes, text: str) -> None:
    """Put a line below a picture."""
    place: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "top"}
    ax.text(0.5, -0.03, text, fontsize=style.SMALL, color=style.QUIET, **place)


def _name_rows(axes: Sequence[Axes], names: Sequence[str], height: float) -> None:
    """Put the methods' names upright at the left of their rows of `height` inches."""
    look: dict[str, Any] = {"fontsize": style.SMALL, "color": style.INK, "rotation": 90}
    for ax, name in zip(axes, wrap_headings(names, int(height / 0.07)), strict=True):
        ax.text(-0.04, 0.5, name, ha="right", va="center", transform=ax.transAxes, **look)
