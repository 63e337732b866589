"""Results by specimen: its cells are similar, and a diagnosis is made for all of them."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.classification import SpecimenResult, specimen_results

_MOST_NUMBERS = 45
"""Number of specimens up to which their numbers do not overlap below the dots."""


def plot_specimens(predictions: Predictions) -> Figure | None:
    """Plot the accuracy of every specimen, ascending within its class; larger dots have more cells.

    A bar marks the accuracy on all cells of the class, a ring a specimen whose majority vote is
    wrong.

    Args:
        predictions: Predictions of one method.

    Returns:
        The figure; None without a classifier, or if no specimen is known.
    """
    if predictions.probabilities is None:
        return None
    rows = specimen_results(predictions.specimen, predictions.label, predictions.probabilities)
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
    # The distance of neighbouring dots in points, less a margin.
    largest = float(np.clip(62 * width / count, 4.0, 8.4)) ** 2
    most = max(row.cells for row in rows)

    def area(cells: int) -> float:
        """Return a dot's area: `largest` for most cells, and never too small to be seen."""
        return 9 + (largest - 9) * cells / most

    names = style.short_names(predictions.classes)
    for label in labels:
        own = {place: row for place, row in places.items() if row.label == label}
        _plot_class(ax, own, names[label], area)
    _style_axes(ax, places)
    style.legend_below(figure, _legend_dots(rows, names, area))
    return figure


def _plot_class(
    ax: Axes, places: dict[int, SpecimenResult], name: str, area: Callable[[int], float]
) -> None:
    """Plot the specimens of one class by place."""
    rows, x = list(places.values()), np.array(list(places))
    look = style.series_style(rows[0].label)
    y = np.array([100 * row.accuracy for row in rows])
    areas = np.array([area(row.cells) for row in rows])
    wrong = np.array([row.by_majority != row.label for row in rows])
    mean = 100 * sum(row.right for row in rows) / sum(row.cells for row in rows)
    ax.hlines(mean, x[0] - 0.45, x[-1] + 0.45, color=look.color, linewidth=1.0, label="_mean")
    ax.scatter(x, y, s=areas, color=look.color, marker=look.marker, linewidths=0, label=name)
    ax.scatter(x[wrong], y[wrong], s=areas[wrong] + 60, label="_wrong vote", **style.RING)


def _style_axes(ax: Axes, places: dict[int, SpecimenResult]) -> None:
    """Label the axes, and number the specimens if the numbers have room."""
    style.style_axes(ax, xlabel="specimen", ylabel="accuracy (%)")
    ticks = places if len(places) <= _MOST_NUMBERS else {}
    ax.set_xticks(list(ticks), [str(row.specimen) for row in ticks.values()], rotation=90)
    ax.grid(visible=False, axis="x")
    lowest = 100 * min(row.accuracy for row in places.values())
    bottom = min(80.0, 10 * (lowest // 10))
    margin = 0.06 * (100 - bottom)
    ax.set(xlim=(-0.9, max(places) + 0.9), ylim=(bottom - margin, 100 + margin))


def _legend_dots(
    rows: Sequence[SpecimenResult], names: Sequence[str], area: Callable[[int], float]
) -> list[Line2D]:
    """Return a dot of each class, the ring, and the dots of the smallest and largest specimen."""
    dots = [style.class_dot(names[label], label, 5.0) for label in sorted({r.label for r in rows})]
    if any(row.by_majority != row.label for row in rows):
        dots.append(
            style.legend_dot("wrong vote", 7.0, color=style.INK, marker="o", fillstyle="none")
        )
    sizes = sorted({row.cells for row in rows})
    for cells in sizes[:: max(len(sizes) - 1, 1)]:
        words = "1 cell" if cells == 1 else f"{cells} cells"
        dots.append(style.legend_dot(words, area(cells) ** 0.5, color=style.QUIET, marker="o"))
    return dots
