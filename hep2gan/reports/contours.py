"""Contours of generated and true masks, one column a class (the paper's Fig. 2)."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.predictions import Predictions
from hep2gan.reports import style
from hep2gan.reports.selection import FOREGROUND, dice_by_cell, typical_cells

_COLUMNS = 6
_TRUE_WIDTH, _PREDICTED_WIDTH = 1.7, 0.9  # points; the lower line shows where they agree


def draw_image(ax: Axes, image: npt.NDArray[np.uint8]) -> None:
    """Show (H, W) grey levels 0..255 without a frame or ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])  # invisible ticks still cost time to lay out


def draw_contour(
    ax: Axes, mask: npt.NDArray[np.uint8], level: float, color: str, width: float
) -> None:
    """Draw the outline of an (H, W) mask at `level`, closed where it touches the border.

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


def draw_outlines(ax: Axes, predictions: Predictions, row: int) -> None:
    """Draw the true outline in green and, where there is one, the generated one in purple."""
    draw_contour(ax, predictions.truth[row], 0.5, style.TRUTH, _TRUE_WIDTH)
    if predictions.mask is not None:
        draw_contour(
            ax, predictions.mask[row], FOREGROUND - 0.5, style.PREDICTION, _PREDICTED_WIDTH
        )


def outline_legend(figure: Figure, *, generated: bool) -> None:
    """Put the key to the two outlines below the figure."""
    handles = [Line2D([], [], color=style.TRUTH, linewidth=_TRUE_WIDTH, label="ground truth")]
    if generated:
        key = Line2D([], [], color=style.PREDICTION, linewidth=_PREDICTED_WIDTH, label="prediction")
        handles.insert(0, key)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=style.LABEL,
        handlelength=1.6,
    )


def contours(predictions: Predictions, *, worst: bool = False) -> Figure | None:
    """Draw one cell a class: above the image, below it the outlines (the paper's Fig. 2).

    Shown is the cell of median Dice of each class, or the lowest with `worst` (see
    `selection.typical_cells`). Six classes a row. None when there are no cells.
    """
    chosen = list(typical_cells(predictions, worst=worst).items())
    if not chosen:
        return None
    generated = predictions.mask is not None
    dice = dice_by_cell(predictions) if generated else None
    columns = min(len(chosen), _COLUMNS)
    blocks = -(-len(chosen) // _COLUMNS)
    side = style.PAGE / max(columns, 4)
    figure = style.new_figure(side * columns, blocks * (2 * side + 0.3) + 0.25)
    axes = figure.subplots(2 * blocks, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for place, (label, row) in enumerate(chosen):
        block, column = divmod(place, _COLUMNS)
        above, below = axes[2 * block, column], axes[2 * block + 1, column]
        draw_image(above, predictions.image[row])
        name = style.shortened(predictions.classes[label], 16)
        above.set_title(name, fontsize=style.LABEL, color=style.INK)
        draw_image(below, predictions.image[row])
        draw_outlines(below, predictions, row)
        note = style.shortened(str(predictions.id[row]), 12)
        if dice is not None:
            note = f"Dice {dice[row]:.3f} · {note}"
        below.set_title(note, fontsize=style.SMALL, color=style.QUIET, y=-0.16)
    outline_legend(figure, generated=generated)
    return figure
