"""One cell on axes: its image, and the outlines of its generated and true masks."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.selection import FOREGROUND
from hep2gan.runs.predictions import Predictions

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
