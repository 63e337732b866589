"""One look for every figure: Okabe–Ito colours, print sizes, no global matplotlib state."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from hep2gan.data.patterns import abbreviation
from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions

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
    """How one class or series is drawn: colour, and a second sign for those who see none."""

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


def plain_text(text: str) -> str:
    """Return `text` as matplotlib shows it literally: dollar signs start no formula."""
    return text.replace("$", r"\$")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters, the last one an ellipsis."""
    return plain_text(_cut(text, limit))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fit_text(text: str, width: float, size: float) -> str:
    """Cut `text` to at most `width` inches at `size` points, its last character an ellipsis."""
    font = FontProperties(size=size)
    limit = len(text)
    while (
        limit > 1
        and _MEASURE.get_text_width_height_descent(_cut(text, limit), font, ismath=False)[0]
        > 72 * width
    ):
        limit -= 1
    return shorten(text, limit)


_MEASURE = TextToPath()


def short_names(classes: Sequence[str], width: float = math.inf, *, limit: int = 12) -> list[str]:
    """Abbreviate class names for axes; longer where two abbreviations would be the same.

    Words that all names begin with go before a name's end does; numbers come last. Cut to the
    width, names still differ.

    width: the most that a name may take, in inches at SMALL points. limit: the most characters of
    a name that is not abbreviated.
    """
    ways = [[abbreviation(name) for name in classes], *_cut_ways(classes, limit)]
    return _apart([[fit_text(name, width, SMALL) for name in names] for names in ways])


def key_names(classes: Sequence[str], limit: int) -> list[str]:
    """Cut class names for keys to `limit` characters; names still differ, as in `short_names`."""
    return [plain_text(name) for name in _apart(_cut_ways(classes, limit))]


def _cut_ways(classes: Sequence[str], limit: int) -> list[list[str]]:
    """As they are, without the words that all begin with, numbered; each cut to `limit`."""
    start = _shared_start(classes)
    return [
        [_cut(name, limit) for name in classes],
        [_cut(name[start:], limit) for name in classes],
        [_cut(f"{number} {name}", limit) for number, name in enumerate(classes)],
    ]


def _apart(ways: Sequence[list[str]]) -> list[str]:
    """The first way of naming in which all names differ, else the last."""
    return next((names for names in ways if len(set(names)) == len(names)), ways[-1])


def _shared_start(names: Sequence[str]) -> int:
    """Characters of the whole words that all names begin with: 6 for plate_a, plate_b."""
    columns = list(zip(*names, strict=False))
    alike = next((n for n, column in enumerate(columns) if len(set(column)) > 1), len(columns))
    start = max(names[0].rfind(gap, 0, alike) + 1 for gap in " _-") if names else 0
    return start if all(len(name) > start for name in names) else 0


def wrap_headings(names: Sequence[str], width: int) -> list[str]:
    """Break names into at most two lines of `width` characters, to stand side by side.

    What is longer is cut; names that would then be the same are numbered first.
    """
    found = [_broken(name, width) for name in names]
    if len(set(found)) < len(found):
        found = [_broken(f"{number} {name}", width) for number, name in enumerate(names, start=1)]
    return [plain_text(text) for text in found]


def _broken(text: str, width: int) -> str:
    text = " ".join(re.sub(r",(?=\S)", ", ", text).split())  # the names of sweeps have no spaces
    first, *more = textwrap.wrap(text, width) or [""]
    return f"{first}\n{_cut(text[len(first) :].strip(), width)}" if more else first


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


COLUMNS = 3
"""Panels beside each other across a page."""


def methods_with(methods: Mapping[str, Predictions], array: str) -> dict[str, Predictions]:
    """Return the methods whose predictions hold `array` and at least one cell, in their order.

    Raises Hep2ganError when their classes differ: one key could not name them all.
    """
    able = {
        name: predictions
        for name, predictions in methods.items()
        if getattr(predictions, array) is not None and len(predictions.label)
    }
    kinds = {predictions.classes for predictions in able.values()}
    if len(kinds) > 1:
        fact = " and ".join(", ".join(classes) for classes in sorted(kinds))
        rule = "methods in one figure need the same classes in the same order"
        raise Hep2ganError(f"methods have classes {fact}", rule)
    return able


def stacks(
    count: int, heights: Sequence[float], columns: int = COLUMNS, *, foot: float = 0.25
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and for each of `count` methods its panels from top to bottom.

    heights: of the panels with their labels, in inches. foot: room for a key below, in inches.
    `columns` methods beside each other; fewer make a narrower figure of the same panels.
    """
    across = min(count, columns)
    lines = -(-count // across)
    width = max(PAGE * across / columns, COLUMN if count == 1 else 0)
    figure = new_figure(width, lines * sum(heights) + foot)
    depth = len(heights)
    grid = figure.subplots(
        lines * depth, across, squeeze=False, height_ratios=list(heights) * lines
    )
    found = []
    for place in range(lines * across):
        line, column = divmod(place, across)
        panels = [grid[line * depth + level, column] for level in range(depth)]
        if place < count:
            found.append(panels)
        else:
            for ax in panels:
                ax.remove()
    return figure, found


def head_room(names: Sequence[str]) -> float:
    """Return the height in inches of headings: a line of results below each name's lines."""
    return 0.14 * (2 + max(name.count("\n") for name in names))


def key_below(figure: Figure, handles: Sequence[Artist], entry: float = 1.1) -> None:
    """Put one key for all panels below them; its entries are about `entry` inches wide."""
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
