"""One look for every figure: Okabe–Ito colours, print sizes, no global matplotlib state."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLUMN = 3.5
PAGE = 7.16
"""Width of one and of two columns of a journal page in inches."""

TITLE, LABEL, TICK, SMALL = 9.0, 8.0, 7.5, 7.0
"""Text sizes in points at printed size; nothing is smaller than 7."""

INK, QUIET, FAINT = "#1a1a1a", "#5c5c5c", "#d9d9d9"

PREDICTION = "#CC66FF"
"""Purple, as in the paper's Fig. 2; light enough for dark images."""

TRUTH = "#2FD68C"
"""Green, as in the paper's Fig. 2; differs from PREDICTION for every kind of colour vision."""

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Okabe & Ito, https://jfly.uni-koeln.de/color/; its yellow is left out, unreadable on white."""

RING: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.9}
"""What marks a point as wrong, for `Axes.scatter`."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)


class SeriesStyle(NamedTuple):
    """How one class or series is plotted: colour, and a second sign for those who see none."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[float, ...]]


def series_style(index: int) -> SeriesStyle:
    """Return the look of class or series `index`; the first 49 all differ."""
    turn = index + index // len(OKABE_ITO)
    marker, line = _MARKERS[turn % len(_MARKERS)], _LINES[turn % len(_LINES)]
    return SeriesStyle(OKABE_ITO[index % len(OKABE_ITO)], marker, line)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches, on a canvas of its own."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style_axes(ax: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Give axes their labels, two thin spines, faint grid and readable ticks."""
    ax.set_xlabel(xlabel, fontsize=LABEL, color=INK)
    ax.set_ylabel(ylabel, fontsize=LABEL, color=INK)
    ax.set_title(title, fontsize=TITLE, color=INK, loc="left")
    ax.tick_params(labelsize=TICK, color=QUIET, labelcolor=INK, width=0.6, length=2.5)
    ax.grid(visible=True, color=FAINT, linewidth=0.5)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=QUIET, linewidth=0.6)


def add_heading(ax: Axes, name: str, note: str) -> None:
    """Put a line of results above a panel, and above that the method's name where there is one."""
    if name:
        ax.set_title(f"{name}\n{note}", fontsize=LABEL, color=INK, linespacing=1.25)
    else:
        ax.set_title(note, fontsize=TITLE, color=INK)


def legend_dot(label: str, size: float, **properties: Any) -> Line2D:
    """Return a legend entry of one marker of `size` points."""
    return Line2D([], [], linestyle="none", markersize=size, label=label, **properties)


def class_dot(label: str, index: int, size: float) -> Line2D:
    """Return the legend entry of class `index`, a marker of `size` points."""
    look = series_style(index)
    return legend_dot(label, size, color=look.color, marker=look.marker)


def legend_below(figure: Figure, handles: Sequence[Artist], entry: float = 1.1) -> None:
    """Put one legend for all panels below them; its entries are about `entry` inches wide."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=max(1, min(len(handles), int(figure.get_figwidth() / entry))),
        frameon=False,
        fontsize=SMALL,
        columnspacing=1.2,
        handletextpad=0.4,
        handlelength=2.6,
    )
