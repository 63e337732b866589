"""Results by specimen: cells of one specimen are alike, and a patient is read as a whole."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.style import key_below
from hep2gan.runs.predictions import Predictions

_MOST_NUMBERS = 45
"""Specimens whose numbers stand below their dots without touching."""


class PlottedSpecimen(NamedTuple):
    """How the cells of one specimen are read; classes are labels."""

    specimen: int
    label: int
    cells: int
    right: int
    accuracy: float
    """In 0..1."""
    voted: int
    """The class that most cells are read as; of several, that of the largest mean probability."""


def plotted_specimens(predictions: Predictions) -> list[PlottedSpecimen] | None:
    """Return a row a specimen, by class and number; None where no specimen is known.

    Cells of unknown specimen (-1) are left out. A specimen number that occurs in two classes has
    a row in each. Raises Hep2ganError without a classifier.
    """
    if predictions.probabilities is None:
        raise Hep2ganError("these predictions hold no class probabilities")
    guesses = predictions.predicted
    known = predictions.specimen >= 0
    pairs = np.stack([predictions.label, predictions.specimen], axis=1)
    rows = []
    for label, specimen in np.unique(pairs[known], axis=0):
        own = (pairs == (label, specimen)).all(axis=1)
        cells, right = int(own.sum()), int((guesses[own] == label).sum())
        votes = np.bincount(guesses[own], minlength=len(predictions.classes))
        mean = predictions.probabilities[own].mean(axis=0)
        voted = int(np.lexsort((mean, votes))[-1])
        rows.append(PlottedSpecimen(int(specimen), int(label), cells, right, right / cells, voted))
    return rows or None


def specimens(predictions: Predictions) -> Figure | None:
    """Draw the accuracy of every specimen, rising within its class; larger dots have more cells.

    A bar marks the accuracy on all cells of the class, a ring a specimen whose vote is wrong.
    None without a classifier and where no specimen is known.
    """
    if predictions.probabilities is None:
        return None
    rows = plotted_specimens(predictions)
    if rows is None:
        return None
    rows.sort(key=lambda row: (row.label, row.accuracy, -row.cells, row.specimen))
    kinds = sorted({row.label for row in rows})
    width = float(np.clip(0.6 + 0.19 * (len(rows) + len(kinds)), style.COLUMN, style.PAGE))
    figure = style.new_figure(width, 3.0)
    ax = figure.subplots()
    spacing = 62 * width / (len(rows) + len(kinds))  # points, less the margin
    largest = float(np.clip(spacing, 4.0, 8.4)) ** 2
    area = partial(_area, most=max(row.cells for row in rows), largest=largest)
    names = style.short_names(predictions.classes)
    places = _places(rows, kinds)
    for kind in kinds:
        own = {place: row for place, row in places.items() if row.label == kind}
        _draw_class(ax, own, names[kind], area)
    _style_axes(ax, places)
    longest = max(len(name) for name in names)
    key_below(figure, _key(rows, names, area), entry=max(0.78, 0.42 + 0.07 * longest))
    return figure


def _places(rows: Sequence[PlottedSpecimen], kinds: Sequence[int]) -> dict[int, PlottedSpecimen]:
    """Give every row a place on the axis, with a gap of one between classes."""
    return {number + kinds.index(row.label): row for number, row in enumerate(rows)}


def _area(cells: int, most: int, largest: float) -> float:
    """Return a dot's area: `largest` for most cells, and never too small to be seen."""
    return 9 + (largest - 9) * cells / most


def _draw_class(
    ax: Axes, own: dict[int, PlottedSpecimen], name: str, area: Callable[[int], float]
) -> None:
    """Draw the specimens of one class by place."""
    rows, x = list(own.values()), np.array(list(own))
    look = style.series_style(rows[0].label)
    y = np.array([100 * row.accuracy for row in rows])
    areas = np.array([area(row.cells) for row in rows])
    lost = np.array([row.voted != row.label for row in rows])
    mean = 100 * sum(row.right for row in rows) / sum(row.cells for row in rows)
    ax.hlines(mean, x[0] - 0.45, x[-1] + 0.45, color=look.color, linewidth=1.0, label="_mean")
    ax.scatter(x, y, s=areas, color=look.color, marker=look.marker, linewidths=0, label=name)
    ax.scatter(x[lost], y[lost], s=areas[lost] + 60, label="_wrong vote", **_RING)


_RING: dict[str, Any] = {"facecolors": "none", "edgecolors": style.INK, "linewidths": 0.9}


def _style_axes(ax: Axes, places: dict[int, PlottedSpecimen]) -> None:
    """Name the axes, and number the specimens where the numbers have room."""
    style.style_axes(ax, xlabel="specimen", ylabel="accuracy (%)")
    shown = places if len(places) <= _MOST_NUMBERS else {}
    ax.set_xticks(list(shown), [str(row.specimen) for row in shown.values()], rotation=90)
    ax.grid(visible=False, axis="x")
    lowest = 100 * min(row.accuracy for row in places.values())
    bottom = min(80.0, 10 * (lowest // 10))
    margin = 0.06 * (100 - bottom)
    ax.set(xlim=(-0.9, max(places) + 0.9), ylim=(bottom - margin, 100 + margin))


def _key(
    rows: Sequence[PlottedSpecimen], names: Sequence[str], area: Callable[[int], float]
) -> list[Line2D]:
    """Return a dot of each class, the ring, and the dots of the smallest and largest specimen."""
    sizes = sorted({row.cells for row in rows})
    keys = []
    for kind in sorted({row.label for row in rows}):
        look = style.series_style(kind)
        keys.append(_sign(names[kind], color=look.color, marker=look.marker))
    if any(row.voted != row.label for row in rows):
        keys.append(_sign("wrong vote", 7.0, color=style.INK, marker="o", fillstyle="none"))
    for cells in sizes[:: max(len(sizes) - 1, 1)]:
        words = "1 cell" if cells == 1 else f"{cells} cells"
        size = float(np.sqrt(area(cells)))
        keys.append(_sign(words, size, color=style.QUIET, marker="o"))
    return keys


def _sign(label: str, size: float = 5.0, **kind: Any) -> Line2D:
    return Line2D([], [], linestyle="none", markersize=size, label=label, **kind)
