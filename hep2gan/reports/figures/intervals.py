"""Shares with their intervals as dots in rows: what a comparison rests on, seen at once."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.figures.style import key_below

_STEP = 0.17
"""Inches from one dot to the next below it."""


class PlottedInterval(NamedTuple):
    """A share and the ends of its interval, fractions in 0..1; NaN where there is none."""

    value: float
    low: float
    high: float


class IntervalGroup(NamedTuple):
    """One row: its label (a condition, an ablation), and a dot of each series (a method)."""

    label: str
    intervals: Mapping[str, PlottedInterval]


def interval_dots(
    groups: Sequence[IntervalGroup], *, xlabel: str = "accuracy (%), 95 % interval"
) -> Figure | None:
    """Draw a row a group from top to bottom, in it a dot and a line a series, in per cent.

    Series keep colour, marker and place in all rows, in the order in which they first occur; with
    one series there is no key. None when there is nothing to draw.
    """
    series = list(dict.fromkeys(name for group in groups for name in group.intervals))
    if not series:
        return None
    names = style.wrap_headings(series, 30)
    lines = max(name.count("\n") + 1 for name in names) * -(-len(series) // 3)
    foot = 0.13 * lines if len(series) > 1 else 0.0
    height = len(groups) * (len(series) * _STEP + 0.14) + 0.55 + foot
    figure = style.new_figure(style.PAGE, height)
    ax = figure.subplots()
    for place, name in enumerate(series):
        _draw_series(ax, groups, name, place, len(series))
    labels = style.wrap_headings([group.label for group in groups], 34)
    _style_axes(ax, labels, xlabel)
    if len(series) > 1:
        key_below(figure, [_sign(name, k) for k, name in enumerate(names)], entry=2.38)
    return figure


def _draw_series(
    ax: Axes, groups: Sequence[IntervalGroup], name: str, place: int, count: int
) -> None:
    """Draw a series' dots, a little higher or lower in each row than those of the others."""
    look = style.series_style(place)
    missing = PlottedInterval(math.nan, math.nan, math.nan)
    found = 100 * np.array([group.intervals.get(name, missing) for group in groups])
    y = np.arange(len(groups)) + (place - (count - 1) / 2) * 0.8 / count
    ax.hlines(y, found[:, 1], found[:, 2], color=look.color, linewidth=1.4, label="_interval")
    ax.plot(found[:, 0], y, color=look.color, **_dot(look), label=style.plain_text(name))


def _dot(look: style.SeriesStyle) -> dict[str, Any]:
    return {"marker": look.marker, "linestyle": "none", "markersize": 5.5, "markeredgewidth": 0}


def _sign(label: str, place: int) -> Line2D:
    look = style.series_style(place)
    return Line2D([], [], color=look.color, label=label, **(_dot(look) | {"linestyle": "-"}))


def _style_axes(ax: Axes, labels: Sequence[str], xlabel: str) -> None:
    style.style_axes(ax, xlabel=xlabel)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    for line in range(1, len(labels)):
        ax.axhline(line - 0.5, color=style.FAINT, linewidth=0.5)
