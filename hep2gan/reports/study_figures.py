"""The figures of a set of runs: methods side by side, intervals, specimens, worst cells."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.reports.figures import style
from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES, RUN_FIGURES, FigureSpec
from hep2gan.reports.figures.cross_set import plot_cross_set
from hep2gan.reports.study import Study
from hep2gan.reports.tables.estimates import Estimate
from hep2gan.reports.tables.table_1 import REFERENCE
from hep2gan.runs.predictions import Predictions

Rows = Mapping[str, Mapping[str, Estimate]]

_FEW = 4
_WORST = {"worst_segmented": "dice", "worst_classified": "accuracy"}
_STEP = 0.17
"""Inches from one dot to the next below it."""
_RUN_FIGURES = {spec.name: spec for spec in RUN_FIGURES}

FIGURE_NAMES = (
    *(spec.name for spec in COMPARISON_FIGURES),
    "intervals",
    "cross_set",
    "specimens",
    *_WORST,
)


def study_figures(study: Study, names: Collection[str]) -> list[FigureSpec[Study]]:
    """Select the figures that the runs may have, in the order of a report.

    Methods that are too many or of different classes are not compared (`Study.not_comparable`); if
    classes differ, no method is the best either.

    Args:
        study: The runs.
        names: Names of the figures to select from.
    """
    specs = [_INTERVALS, _CROSS_SET]
    if study.first_seeds and not study.not_comparable:
        specs = [*(_comparison(study, spec) for spec in COMPARISON_FIGURES), *specs]
    if len({method.cells.classes for method in study.methods}) == 1:
        if "specimens" in names:
            specs += [_of_method(study, "specimens", title) for title in _specimen_methods(study)]
        for name, measure in _WORST.items():
            # Errors of the best method are the most informative.
            best = _best(study, measure) if name in names else []
            specs += [_of_method(study, name, title) for title in best]
    return [spec for spec in specs if spec.name in names]


def _comparison(study: Study, spec: FigureSpec[Mapping[str, Predictions]]) -> FigureSpec[Study]:
    note = ""
    if len(study.results) > len(study.first_seeds):
        folds = any(run.fold is not None for run in study.runs)
        note = f" Shown is the first seed of each method{', its folds pooled' if folds else ''}."
    return FigureSpec(
        spec.name, spec.title, spec.caption + note, lambda study: spec.plot(study.first_seeds)
    )


def _of_method(study: Study, name: str, title: str) -> FigureSpec[Study]:
    """Return the figure of one method, which is named where there are several."""
    spec = _RUN_FIGURES[name]
    return FigureSpec(
        name,
        spec.title,
        spec.caption,
        lambda study: spec.plot(study.predictions(title)),
        title if len(study.methods) > 1 else "",
    )


def _plot_accuracies(study: Study) -> Figure | None:
    """Plot a row a split with a dot a method, where there are several, else a row a method."""
    rows: dict[str, dict[str, Estimate]] = {}
    for row in study.leakage[0]:
        estimates = rows.setdefault(row.protocol.words, {})
        estimates[row.method.title] = row.estimates["accuracy"]
    if not rows:
        rows = {
            row.method.title: {"accuracy": row.estimates["accuracy"]}
            for row in study.table_1
            if "accuracy" in row.estimates
        }
    return plot_intervals(rows) if len(rows) > 1 else None


_INTERVALS: FigureSpec[Study] = FigureSpec(
    "intervals",
    "Accuracy and its interval",
    "Accuracy with its 95 % interval, of these trainings: over specimens where they are known, "
    "else over blocks or cells.",
    _plot_accuracies,
)


_CROSS_SET: FigureSpec[Study] = FigureSpec(
    "cross_set",
    "Trained on one set, tested on all",
    "Accuracy in per cent and its 95 % interval: a row for each method, a column for each set. "
    "Frames mark a method's own test cells; all other fields are the cells of another set that "
    "were not in training.",
    lambda study: plot_cross_set(study.cross_set) if study.cross_set else None,
)


def _specimen_methods(study: Study) -> list[str]:
    """Return all methods where they are few, else the most accurate and the reference."""
    titles = [method.title for method in study.methods]
    if len(titles) > _FEW:
        titles = _best(study, "accuracy")
        titles += [row.method.title for row in study.table_1 if row.comparison == REFERENCE]
    return list(dict.fromkeys(titles))


def _best(study: Study, measure: str) -> list[str]:
    """Return the title of the method of the highest mean over its seeds, if any has the measure."""
    means = {
        row.method.title: row.estimates[measure].mean
        for row in study.table_1
        if measure in row.estimates
    }
    return [max(means, key=lambda title: means[title])] if means else []


def plot_intervals(rows: Rows) -> Figure | None:
    """Plot a dot and an interval of each series in each row, in per cent, from top to bottom.

    Series keep colour, marker and place in all rows, in the order in which they first occur; a
    single series has no legend.

    Args:
        rows: Label of each row (a condition, an ablation) to the accuracy of each series (a
            method).

    Returns:
        The figure; None if there is nothing to plot.
    """
    series = list(dict.fromkeys(name for estimates in rows.values() for name in estimates))
    if not series:
        return None
    names = style.wrap_headings(series, 30)
    lines = max(name.count("\n") + 1 for name in names) * -(-len(series) // 3)
    foot = 0.13 * lines if len(series) > 1 else 0.0
    height = len(rows) * (len(series) * _STEP + 0.14) + 0.55 + foot
    figure = style.new_figure(style.PAGE, height)
    ax = figure.subplots()
    for place, name in enumerate(series):
        _plot_series(ax, rows, name, place, len(series))
    _style_axes(ax, style.wrap_headings(list(rows), 34))
    if len(series) > 1:
        handles = [
            style.class_dot(name, place, 5.5, linestyle="-", markeredgewidth=0)
            for place, name in enumerate(names)
        ]
        style.legend_below(figure, handles)
    return figure


def _plot_series(ax: Axes, rows: Rows, name: str, place: int, count: int) -> None:
    """Plot a series' dots, a little higher or lower in each row than those of the others."""
    look = style.series_style(place)
    points = 100 * np.array([_point(estimates.get(name)) for estimates in rows.values()])
    y = np.arange(len(rows)) + (place - (count - 1) / 2) * 0.8 / count
    ax.hlines(y, points[:, 1], points[:, 2], color=look.color, linewidth=1.4, label="_interval")
    ax.plot(
        points[:, 0],
        y,
        color=look.color,
        marker=look.marker,
        linestyle="none",
        markersize=5.5,
        markeredgewidth=0,
        label=style.plain_text(name),
    )


def _point(estimate: Estimate | None) -> tuple[float, float, float]:
    """Return value, low and high; NaN where there is none."""
    if estimate is None:
        return (math.nan, math.nan, math.nan)
    return (estimate.mean, *(estimate.interval or (math.nan, math.nan)))


def _style_axes(ax: Axes, labels: Sequence[str]) -> None:
    style.style_axes(ax, xlabel="accuracy (%), 95 % interval")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    for line in range(1, len(labels)):
        ax.axhline(line - 0.5, color=style.FAINT, linewidth=0.5)
