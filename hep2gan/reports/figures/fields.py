"""Whole fields with the outlines of their true cells and of those that were found."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import ndimage
from skimage.measure import find_contours

from hep2gan.reports.figures import style
from hep2gan.reports.figures.cells import plot_image

Labels = npt.NDArray[np.int32]

_HIGHEST = 4.2
"""Inches of one field."""
_TITLE, _LEGEND = 0.25, 0.25
_TRUE_WIDTH, _FOUND_WIDTH = 1.4, 0.7
"""Points; the wider line below is visible where both agree."""
_LEFT_OUT = "#F0C24B"


class FieldExample(NamedTuple):
    """A field to be shown.

    Attributes:
        heading: What it is, in a few words.
        image: uint8 (h, w) grey levels.
        truth: (h, w) true label image.
        found: (h, w) found label image.
        left_out: Numbers of the true cells that are not scored.
    """

    heading: str
    image: npt.NDArray[np.uint8]
    truth: Labels
    found: Labels
    left_out: Collection[int]


def plot_fields(examples: Sequence[FieldExample]) -> Figure:
    """Plot fields below each other: true outlines in green, found ones in purple above them.

    Args:
        examples: At least one field.
    """
    widths = [
        min(style.PAGE, _HIGHEST * shown.image.shape[1] / shown.image.shape[0])
        for shown in examples
    ]
    heights = [
        width * shown.image.shape[0] / shown.image.shape[1]
        for width, shown in zip(widths, examples, strict=True)
    ]
    total = sum(heights) + _TITLE * len(examples) + _LEGEND
    figure = style.new_figure(max(widths), total)
    grid = figure.subplots(len(examples), 1, squeeze=False, height_ratios=heights)
    for ax, shown in zip(grid[:, 0], examples, strict=True):
        _plot_field(ax, shown)
    lines = [
        Line2D([], [], color=color, linewidth=width, label=label)
        for color, width, label in (
            (style.TRUTH, _TRUE_WIDTH, "true"),
            (style.PREDICTION, _FOUND_WIDTH, "found"),
            (_LEFT_OUT, _TRUE_WIDTH, "true, not scored"),
        )
        if color != _LEFT_OUT or any(shown.left_out for shown in examples)
    ]
    style.legend_below(figure, lines)
    return figure


def _plot_field(ax: Axes, shown: FieldExample) -> None:
    plot_image(ax, shown.image)
    ax.set_title(shown.heading, fontsize=style.LABEL, color=style.INK, loc="left", pad=3)
    left_out = np.isin(shown.truth, list(shown.left_out))
    for labels, color, width in (
        (np.where(left_out, 0, shown.truth), style.TRUTH, _TRUE_WIDTH),
        (np.where(left_out, shown.truth, 0), _LEFT_OUT, _TRUE_WIDTH),
        (shown.found, style.PREDICTION, _FOUND_WIDTH),
    ):
        ax.add_collection(LineCollection(list(_outlines(labels)), colors=color, linewidths=width))


def _outlines(labels: Labels) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the closed outlines (n, 2) of all cells, as x and y in pixels."""
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None:
            cell = np.pad(labels[box] == number, 1).astype(np.float32)
            corner = np.array([box[1].start - 1, box[0].start - 1])
            for outline in find_contours(cell, 0.5):  # type: ignore[no-untyped-call]
                yield outline[:, ::-1] + corner
