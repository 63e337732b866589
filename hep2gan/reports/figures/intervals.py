"""Estimates with their intervals as dots in rows: what a comparison rests on, seen at once."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.figures.labels import plain_text, wrap_headings
from hep2gan.reports.tables.estimates import Estimate

Rows = Mapping[str, Mapping[str, Estimate]]

_STEP = 0.17
"""Inches from one dot to the next below it."""


def plot_intervals(rows: Rows) -> Figure | None:
    """Plot the rows from top to bottom, in each a dot and a line a series, in per cent.

    Series keep colour, marker and place in all rows, in the order in which they first occur; with
    one series there is no legend. None when there is nothing to plot.

    Args:
        rows: label of each row (a condition, an ablation) to the accuracy of each series (a
            method).
    """
    series = list(dict.fromkeys(name for estimates in rows.values() for name in estimates))
    if not series:
        return None
    names = wrap_headings(series, 30)
    lines = max(name.count("\n") + 1 for name in names) * -(-len(series) // 3)
    foot = 0.13 * lines if len(series) > 1 else 0.0
    height = len(rows) * (len(series) * _STEP + 0.14) + 0.55 + foot
    figure = style.new_figure(style.PAGE, height)
    ax = figure.subplots()
    for place, name in enumerate(series):
        _plot_series(ax, rows, name, place, len(series))
    _style_axes(ax, wrap_headings(list(rows), 34))
    if len(series) > 1:
        handles = [_legend_line(name, place) for place, name in enumerate(names)]
        style.legend_below(figure, handles, entry=2.38)
    return figure


def _plot_series(ax: Axes, rows: Rows, name: str, place: int, count: int) -> None:
    """Plot a series' dots, a little higher or lower in each row than those of the others."""
    look = style.series_style(place)
    points = 100 * np.array([_point(estimates.get(name)) for estimates in rows.values()])
    y = np.arange(len(rows)) + (place - (count - 1) / 2) * 0.8 / count
    ax.hlines(y, points[:, 1], points[:, 2], color=look.color, linewidth=1.4, label="_interval")
    ax.plot(points[:, 0], y, color=look.color, **_dot(look), label=plain_text(name))


def _point(estimate: Estimate | None) -> tuple[float, float, float]:
    """Return value, low and high; NaN where there is none."""
    if estimate is None:
        return (math.nan, math.nan, math.nan)
    return (estimate.mean, *(estimate.interval or (math.nan, math.nan)))


def _dot(look: style.SeriesStyle) -> dict[str, Any]:
    return {"marker": look.marker, "linestyle": "none", "markersize": 5.5, "markeredgewidth": 0}


def _legend_line(label: str, place: int) -> Line2D:
    look = style.series_style(place)
    return Line2D([], [], color=look.color, label=label, **(_dot(look) | {"linestyle": "-"}))


def _style_axes(ax: Axes, labels: Sequence[str]) -> None:
    style.style_axes(ax, xlabel="accuracy (%), 95 % interval")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    for line in range(1, len(labels)):
        ax.axhline(line - 0.5, color=style.FAINT, linewidth=0.5)
