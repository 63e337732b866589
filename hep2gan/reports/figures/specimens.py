"""Results by specimen: cells of one specimen are alike, and a patient is read as a whole."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.figures.labels import short_names
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.voting import majority_votes

_MOST_NUMBERS = 45
"""Specimens whose numbers stand below their dots without touching."""


class SpecimenAccuracy(NamedTuple):
    """How the cells of one specimen are read; classes are labels."""

    specimen: int
    label: int
    cells: int
    right: int
    voted: int
    """The class that most cells are read as; of several, that of the largest mean probability."""

    @property
    def accuracy(self) -> float:
        """Share of its cells that are read right, in 0..1."""
        return self.right / self.cells


def specimen_accuracies(predictions: Predictions) -> list[SpecimenAccuracy]:
    """Return a row a specimen, by class and number.

    Cells of unknown specimen (-1) are left out. A specimen number that occurs in two classes has
    a row in each. Raises Hep2ganError without a classifier.
    """
    known = predictions.specimen >= 0
    probabilities, label = predictions.require_probabilities()[known], predictions.label[known]
    pairs = np.stack([label, predictions.specimen[known]], axis=1)
    specimens, group, cells = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    right = np.bincount(group[predictions.predicted[known] == label], minlength=len(specimens))
    votes = majority_votes(group, label, probabilities).by_majority
    return [
        SpecimenAccuracy(int(pair[1]), int(pair[0]), *map(int, counts))
        for pair, *counts in zip(specimens, cells, right, votes, strict=True)
    ]


def plot_specimens(predictions: Predictions) -> Figure | None:
    """Plot the accuracy of every specimen, rising within its class; larger dots have more cells.

    A bar marks the accuracy on all cells of the class, a ring a specimen whose vote is wrong.
    None without a classifier and where no specimen is known.
    """
    rows = [] if predictions.probabilities is None else specimen_accuracies(predictions)
    if not rows:
        return None
    rows.sort(key=lambda row: (row.label, row.accuracy, -row.cells, row.specimen))
    labels = sorted({row.label for row in rows})
    # A gap of one between classes.
    places = {number + labels.index(row.label): row for number, row in enumerate(rows)}
    count = len(rows) + len(labels)
    width = float(np.clip(0.6 + 0.19 * count, style.COLUMN, style.PAGE))
    figure = style.new_figure(width, 3.0)
    ax = figure.subplots()
    spacing = 62 * width / count  # points, less the margin
    largest = float(np.clip(spacing, 4.0, 8.4)) ** 2
    area = partial(_area, most=max(row.cells for row in rows), largest=largest)
    names = short_names(predictions.classes)
    for label in labels:
        own = {place: row for place, row in places.items() if row.label == label}
        _plot_class(ax, own, names[label], area)
    _style_axes(ax, places)
    longest = max(len(name) for name in names)
    handles = _legend_dots(rows, names, area)
    style.legend_below(figure, handles, entry=max(0.78, 0.42 + 0.07 * longest))
    return figure


def _area(cells: int, most: int, largest: float) -> float:
    """Return a dot's area: `largest` for most cells, and never too small to be seen."""
    return 9 + (largest - 9) * cells / most


def _plot_class(
    ax: Axes, places: dict[int, SpecimenAccuracy], name: str, area: Callable[[int], float]
) -> None:
    """Plot the specimens of one class by place."""
    rows, x = list(places.values()), np.array(list(places))
    look = style.series_style(rows[0].label)
    y = np.array([100 * row.accuracy for row in rows])
    areas = np.array([area(row.cells) for row in rows])
    wrong = np.array([row.voted != row.label for row in rows])
    mean = 100 * sum(row.right for row in rows) / sum(row.cells for row in rows)
    ax.hlines(mean, x[0] - 0.45, x[-1] + 0.45, color=look.color, linewidth=1.0, label="_mean")
    ax.scatter(x, y, s=areas, color=look.color, marker=look.marker, linewidths=0, label=name)
    ax.scatter(x[wrong], y[wrong], s=areas[wrong] + 60, label="_wrong vote", **style.RING)


def _style_axes(ax: Axes, places: dict[int, SpecimenAccuracy]) -> None:
    """Name the axes, and number the specimens where the numbers have room."""
    style.style_axes(ax, xlabel="specimen", ylabel="accuracy (%)")
    ticks = places if len(places) <= _MOST_NUMBERS else {}
    ax.set_xticks(list(ticks), [str(row.specimen) for row in ticks.values()], rotation=90)
    ax.grid(visible=False, axis="x")
    lowest = 100 * min(row.accuracy for row in places.values())
    bottom = min(80.0, 10 * (lowest // 10))
    margin = 0.06 * (100 - bottom)
    ax.set(xlim=(-0.9, max(places) + 0.9), ylim=(bottom - margin, 100 + margin))


def _legend_dots(
    rows: Sequence[SpecimenAccuracy], names: Sequence[str], area: Callable[[int], float]
) -> list[Line2D]:
    """Return a dot of each class, the ring, and the dots of the smallest and largest specimen."""
    dots = [style.class_dot(names[label], label, 5.0) for label in sorted({r.label for r in rows})]
    if any(row.voted != row.label for row in rows):
        ring: dict[str, Any] = {"color": style.INK, "marker": "o", "fillstyle": "none"}
        dots.append(style.legend_dot("wrong vote", 7.0, **ring))
    sizes = sorted({row.cells for row in rows})
    for cells in sizes[:: max(len(sizes) - 1, 1)]:
        words = "1 cell" if cells == 1 else f"{cells} cells"
        size = float(np.sqrt(area(cells)))
        dots.append(style.legend_dot(words, size, color=style.QUIET, marker="o"))
    return dots
