"""The style of all figures: colours, print sizes, abbreviated names, panels of methods.

No global matplotlib state; colours are Okabe & Ito's.
"""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextToPath

from hep2gan.data.patterns import abbreviation
from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures.fonts import families_of
from hep2gan.runs.predictions import Predictions

COLUMN = 3.5
PAGE = 7.16
"""Width of one and of two columns of a journal page in inches."""

TITLE, LABEL, TICK, SMALL = 9.0, 8.0, 7.5, 7.0
"""Text sizes in points at printed size; nothing is smaller than 7."""

COLUMNS = 3
"""Panels beside each other across a page."""

INK, QUIET, FAINT = "#1a1a1a", "#5c5c5c", "#d9d9d9"

PREDICTION = "#CC66FF"
"""Purple, as in the paper's Fig. 2; light enough for dark images."""

TRUTH = "#2FD68C"
"""Green, as in the paper's Fig. 2; differs from PREDICTION for every kind of colour vision."""

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Okabe & Ito, https://jfly.uni-koeln.de/color/; its yellow is left out, unreadable on white."""

RING: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.9}
"""What marks a point as wrong, for `Axes.scatter`."""

_measure = TextToPath().get_text_width_height_descent
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
    """Look of one class or series: colour, and marker and line to tell it apart without colour.

    Attributes:
        color: #RRGGBB.
        marker: Marker of matplotlib.
        linestyle: Line style of matplotlib.
    """

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[float, ...]]


def series_style(index: int) -> SeriesStyle:
    """Return the look of a class or series; the first 49 all differ.

    Args:
        index: Number of the class or series, from 0.
    """
    turn = index + index // len(OKABE_ITO)
    marker, line = _MARKERS[turn % len(_MARKERS)], _LINES[turn % len(_LINES)]
    return SeriesStyle(OKABE_ITO[index % len(OKABE_ITO)], marker, line)


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure on a canvas of its own.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style_axes(ax: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Set labels, two thin spines, a faint grid and readable ticks.

    Args:
        ax: Axes to change.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        title: Title, set to the left.
    """
    ax.set_xlabel(xlabel, fontsize=LABEL, color=INK)
    ax.set_ylabel(ylabel, fontsize=LABEL, color=INK)
    ax.set_title(title, fontsize=TITLE, color=INK, loc="left")
    ax.tick_params(labelsize=TICK, color=QUIET, labelcolor=INK, width=0.6, length=2.5)
    ax.grid(visible=True, color=FAINT, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[:].set(color=QUIET, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def add_heading(ax: Axes, name: str, note: str) -> None:
    """Put a line of results above a panel, and above that the name of its method.

    Args:
        ax: Axes of the panel.
        name: Name of the method; may be empty.
        note: Line of results.
    """
    if name:
        ax.set_title(f"{name}\n{note}", fontsize=LABEL, color=INK, linespacing=1.25)
    else:
        ax.set_title(note, fontsize=TITLE, color=INK)


def add_text(ax: Axes, x: float, y: float, text: str, color: str = INK, **place: Any) -> None:
    """Put small text at a position.

    Args:
        ax: Axes to draw in.
        x: Horizontal position in the axes, 0..1.
        y: Vertical position in the axes, 0..1.
        text: The text.
        color: Its colour.
        **place: More arguments of `Axes.text`.
    """
    ax.text(x, y, text, transform=ax.transAxes, fontsize=SMALL, color=color, **place)


def legend_dot(label: str, size: float, **properties: Any) -> Line2D:
    """Create a legend entry of one marker.

    Args:
        label: Text of the entry.
        size: Size of the marker in points.
        **properties: Properties of `Line2D`.
    """
    look: dict[str, Any] = {"linestyle": "none", "markersize": size, "label": label}
    return Line2D([], [], **look | properties)


def class_dot(label: str, index: int, size: float, **properties: Any) -> Line2D:
    """Create the legend entry of a class.

    Args:
        label: Text of the entry.
        index: Number of the class, from 0.
        size: Size of the marker in points.
        **properties: Properties of `Line2D`.
    """
    look = series_style(index)
    return legend_dot(label, size, color=look.color, marker=look.marker, **properties)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend for all panels below them, in as few lines as the figure has room for.

    Args:
        figure: Figure to draw in.
        handles: Entries of the legend.
    """
    widths = [_entry_width(str(handle.get_label())) for handle in handles]
    fits = (
        columns
        for columns in range(len(widths), 1, -1)
        if sum(max(column) for column in np.array_split(widths, columns)) <= figure.get_figwidth()
    )
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=next(fits, 1),
        frameon=False,
        fontsize=SMALL,
        columnspacing=1.2,
        handletextpad=0.4,
        handlelength=2.6,
    )


def _entry_width(label: str) -> float:
    """Return the width of an entry of `legend_below` with its gap, in inches."""
    font = FontProperties(family=families_of(label), size=SMALL)
    text = max(_measure(line, font, ismath=False)[0] for line in label.split("\n"))
    return (text + (2.6 + 0.4 + 1.2) * SMALL) / 72


def methods_with(methods: Mapping[str, Predictions], array: str) -> dict[str, Predictions]:
    """Select the methods whose predictions hold an array and at least one cell.

    Args:
        methods: Predictions by title of the method.
        array: Name of a field of `Predictions`.

    Returns:
        The selected methods, in the same order.

    Raises:
        Hep2ganError: If their classes differ, since one legend could not name them all.
    """
    able = {
        name: predictions
        for name, predictions in methods.items()
        if getattr(predictions, array) is not None and len(predictions.label)
    }
    kinds = {predictions.classes for predictions in able.values()}
    if len(kinds) > 1:
        found = " and ".join(", ".join(classes) for classes in sorted(kinds))
        raise Hep2ganError(
            f"methods have classes {found}",
            "methods in one figure need the same classes in the same order",
        )
    return able


def method_panels(
    names: Sequence[str], heights: Sequence[float], columns: int = COLUMNS, *, foot: float = 0.25
) -> tuple[Figure, list[str], list[list[Axes]]]:
    """Lay out the panels of methods, `columns` side by side; fewer make a narrower figure.

    Args:
        names: Names of the methods, at least one.
        heights: Heights of a method's panels with their labels in inches, without the heading.
        columns: Number of panels side by side across a page.
        foot: Height of a legend below in inches.

    Returns:
        The figure, the heading of each method for its first panel, and each method's panels from
        top to bottom.
    """
    headings = wrap_headings(names, int(PAGE / columns / 0.078))
    # The heading has a line of results below the name.
    room = 0.14 * (2 + max(heading.count("\n") for heading in headings))
    heights = [heights[0] + room, *heights[1:]]
    across, depth = min(len(names), columns), len(heights)
    lines = -(-len(names) // across)
    width = max(PAGE * across / columns, COLUMN if len(names) == 1 else 0)
    figure = new_figure(width, lines * sum(heights) + foot)
    grid = figure.subplots(
        lines * depth, across, squeeze=False, height_ratios=list(heights) * lines
    )
    axes = list(map(list, grid.reshape(lines, depth, across).swapaxes(1, 2).reshape(-1, depth)))
    for ax in (ax for panels in axes[len(names) :] for ax in panels):
        ax.remove()
    return figure, headings, axes[: len(names)]


def drop_inner_ylabels(axes: Sequence[Sequence[Axes]], columns: int = COLUMNS) -> None:
    """Keep the label of the vertical axis only at the first panel of each line.

    Args:
        axes: Panels of each method, as from `method_panels`.
        columns: Number of panels side by side.
    """
    for place, panels in enumerate(axes):
        for ax in panels if place % columns else ():
            ax.set_ylabel("")


def plain_text(text: str) -> str:
    """Escape dollar signs, so that matplotlib shows them instead of a formula.

    Args:
        text: The text.
    """
    return text.replace("$", r"\$")


def ink_on_blue(share: float, ink: str) -> str:
    """Choose the colour of a text on a field of the colour map Blues, which runs from 0 to 1.

    Args:
        share: Value of the field.
        ink: Colour of the text on a light field.

    Returns:
        White where it contrasts more than the dark colours of the figures.
    """
    return "white" if share > 0.7 else ink


def shorten(text: str, limit: int) -> str:
    """Cut a text to a number of characters, the last one an ellipsis, and escape it.

    Args:
        text: The text.
        limit: Largest number of characters.
    """
    return plain_text(_cut(text, limit))


def fit_text(text: str, width: float, size: float, *, keep_end: bool = False) -> str:
    """Cut a text to a width, an ellipsis in place of what is cut, and escape it.

    Args:
        text: The text.
        width: Largest width in inches.
        size: Font size in points.
        keep_end: Cut the beginning and not the end, as for paths, which differ at their end.
    """
    font = FontProperties(family=families_of(text), size=size)
    cuts = (_cut_start(text, n) if keep_end else _cut(text, n) for n in range(len(text), 1, -1))
    fits = (cut for cut in cuts if _measure(cut, font, ismath=False)[0] <= 72 * width)
    return plain_text(next(fits, _cut(text, 1)))


def short_names(classes: Sequence[str], width: float = math.inf, *, limit: int = 12) -> list[str]:
    """Shorten class names for axes: the paper's three letters for its classes, others cut.

    Words that all names begin with are cut before the end of a name; numbers are added last. Names
    differ even after they are cut to the width.

    Args:
        classes: Names of all classes.
        width: Largest width of a name in inches at `SMALL` points.
        limit: Largest number of characters.
    """
    abbreviated = [_cut(abbreviation(name), limit) for name in classes]
    ways = [abbreviated, *_ways_to_cut(classes, limit)]
    return _first_distinct([[fit_text(name, width, SMALL) for name in names] for names in ways])


def legend_names(classes: Sequence[str], limit: int) -> list[str]:
    """Cut class names for legends; they still differ, as in `short_names`.

    Args:
        classes: Names of all classes.
        limit: Largest number of characters.
    """
    return [plain_text(name) for name in _first_distinct(_ways_to_cut(classes, limit))]


def wrap_headings(names: Sequence[str], width: int) -> list[str]:
    """Break names into at most two lines, to be placed side by side.

    Longer names are cut; names that would then be equal are numbered.

    Args:
        names: Names of methods.
        width: Largest number of characters in a line.
    """
    headings = [_two_lines(name, width) for name in names]
    if len(set(headings)) < len(headings):
        headings = [_two_lines(f"{place} {name}", width) for place, name in enumerate(names, 1)]
    return [plain_text(text) for text in headings]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut_start(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def _ways_to_cut(classes: Sequence[str], limit: int) -> list[list[str]]:
    """Return the names, those without the common first words, and numbered ones; cut to `limit`."""
    start = _common_start(classes)
    return [
        [_cut(name, limit) for name in classes],
        [_cut(name[start:], limit) for name in classes],
        [_cut(f"{number} {name}", limit) for number, name in enumerate(classes)],
    ]


def _first_distinct(ways: Sequence[list[str]]) -> list[str]:
    """Return the first way of naming in which all names differ, else the last."""
    return next((names for names in ways if len(set(names)) == len(names)), ways[-1])


def _common_start(names: Sequence[str]) -> int:
    """Count the characters of the whole words that all names begin with: 6 for plate_a, plate_b."""
    columns = list(zip(*names, strict=False))
    alike = next((n for n, column in enumerate(columns) if len(set(column)) > 1), len(columns))
    start = max(names[0].rfind(gap, 0, alike) + 1 for gap in " _-") if names else 0
    return start if all(len(name) > start for name in names) else 0


def _two_lines(text: str, width: int) -> str:
    text = " ".join(re.sub(r",(?=\S)", ", ", text).split())  # the names of sweeps have no spaces
    first, *more = textwrap.wrap(text, width) or [""]
    return f"{first}\n{_cut(text[len(first) :].strip(), width)}" if more else first
