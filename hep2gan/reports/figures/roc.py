"""Receiver operating characteristic, each class against the rest (the paper's Fig. 4)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import auc, roc_curve

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions

_LINE_WIDTH = 1.3
_MOST_LISTED = 8
_OVER_CHANCE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
"""What keeps the line of chance from crossing text."""


class RocCurve(NamedTuple):
    """ROC curve of one class against the rest.

    Attributes:
        label: The class.
        false_positive_rate: In [0, 1], at falling thresholds.
        true_positive_rate: In [0, 1], at falling thresholds.
        area: Area under the curve.
    """

    label: int
    false_positive_rate: npt.NDArray[np.float64]
    true_positive_rate: npt.NDArray[np.float64]
    area: float


def roc_curves(predictions: Predictions) -> list[RocCurve]:
    """Compute the curve of every class that has both cells of its own and cells of others.

    Args:
        predictions: Predictions of one method.

    Returns:
        Curves in the order of the labels.

    Raises:
        Hep2ganError: If the method has no classifier.
    """
    probabilities = predictions.require_probabilities()
    curves = []
    for label in range(len(predictions.classes)):
        own = predictions.label == label
        if own.any() and not own.all():
            false_rate, true_rate, _ = roc_curve(own, probabilities[:, label])
            curves.append(RocCurve(label, false_rate, true_rate, float(auc(false_rate, true_rate))))
    return curves


def plot_roc(predictions: Predictions) -> Figure | None:
    """Plot the curves of one method, and their upper left corner enlarged.

    Classes without test cells are left out and named.

    Args:
        predictions: Predictions of the method.

    Returns:
        The figure; None if there is no curve.
    """
    curves = [] if predictions.probabilities is None else roc_curves(predictions)
    if not curves:
        return None
    figure = style.new_figure(style.PAGE, style.PAGE / 2 + 0.3)
    whole, corner = figure.subplots(1, 2)
    _plot_curves(whole, predictions.classes, curves, title="Each class against the rest")
    whole.legend(
        loc="lower right",
        fontsize=style.SMALL,
        framealpha=0.8,  # over the line of chance
        edgecolor="none",
        handlelength=2.6,
        title=_missing(predictions.classes, curves),
        title_fontsize=style.SMALL,
        alignment="left",
    )
    share = _corner_share(curves)
    _plot_curves(
        corner, predictions.classes, curves, share, title=f"Upper left corner × {1 / share:.0f}"
    )
    corner.set(ylabel="")
    return figure


def plot_roc_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot each method's curves, and below them the upper left corner enlarged, equally for all.

    Three methods are placed side by side, four if there are more. Classes without test cells have
    no curve.

    Args:
        methods: Predictions by title of the method; methods without a classifier are left out.

    Returns:
        The figure; None if there is no curve.

    Raises:
        Hep2ganError: If classes differ.
    """
    able = style.methods_with(methods, "probabilities")
    curves_of = {name: roc_curves(predictions) for name, predictions in able.items()}
    curves_of = {name: curves for name, curves in curves_of.items() if curves}
    if not curves_of:
        return None
    classes = next(iter(able.values())).classes
    columns = style.COLUMNS if len(curves_of) <= style.COLUMNS else style.COLUMNS + 1
    side = style.PAGE / columns
    figure, headings, axes = style.method_panels(
        list(curves_of), [side + 0.2, side + 0.15], columns, foot=0.35
    )
    share = _corner_share([curve for curves in curves_of.values() for curve in curves])
    for (whole, corner), heading, curves in zip(axes, headings, curves_of.values(), strict=True):
        _plot_curves(whole, classes, curves)
        _plot_curves(corner, classes, curves, share)
        note = f"macro AUC {np.mean([curve.area for curve in curves]):.4f}"
        style.add_heading(whole, heading, note)
        _list_areas(whole, classes, curves)
        corner.set_title(f"corner × {1 / share:.0f}", fontsize=style.SMALL, color=style.QUIET)
    style.drop_inner_ylabels(axes, columns)
    style.legend_below(figure, _legend_lines(classes, curves_of.values()))
    return figure


def _plot_curves(
    ax: Axes,
    classes: Sequence[str],
    curves: Sequence[RocCurve],
    share: float = 1.0,
    *,
    title: str = "",
) -> None:
    """Plot one line a class, its area in its label; the upper left `share` of both axes."""
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.6, linestyle=":", label="_chance")
    names = style.legend_names(classes, 20)
    for curve in curves:
        ax.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            **_line(curve.label),
            label=f"{names[curve.label]} (AUC {curve.area:.4f})",
        )
    style.style_axes(ax, xlabel="false positive rate", ylabel="true positive rate", title=title)
    ax.set_aspect("equal", anchor="N")
    margin = 0.02 * share
    beyond = margin if share == 1 else 0.0
    ax.set(xlim=(-margin, share + beyond), ylim=(1 - share - beyond, 1 + margin))


def _line(label: int) -> dict[str, Any]:
    look = style.series_style(label)
    return {"color": look.color, "linestyle": look.linestyle, "linewidth": _LINE_WIDTH}


def _corner_share(curves: Sequence[RocCurve]) -> float:
    """Return the part of the axes to enlarge, 1/10, 1/4 or 1/2, which the worst curve needs."""
    lowest = min(curve.area for curve in curves)
    return next(share for share, least in ((0.1, 0.98), (0.25, 0.9), (0.5, -1)) if lowest > least)


def _missing(classes: Sequence[str], curves: Sequence[RocCurve]) -> str:
    """Say which classes have no curve."""
    plotted = {curve.label for curve in curves}
    names = [name for label, name in enumerate(classes) if label not in plotted]
    return style.shorten(f"no curve, no test cells: {', '.join(names)}", 46) if names else ""


def _list_areas(ax: Axes, classes: Sequence[str], curves: Sequence[RocCurve]) -> None:
    """List the areas of few classes below the curves, where there is room."""
    if len(curves) <= _MOST_LISTED:
        names = style.short_names(classes)
        areas = [f"{names[curve.label]} {curve.area:.4f}" for curve in curves]
        text = "\n".join(["AUC", *areas])
        place = {"ha": "right", "va": "bottom", "bbox": _OVER_CHANCE}
        style.add_text(ax, 0.97, 0.03, text, style.INK, **place)


def _legend_lines(
    classes: Sequence[str], curves_of: Collection[Sequence[RocCurve]]
) -> list[Line2D]:
    """Return a line of each class that has a curve in any panel."""
    names = style.legend_names(classes, 16)
    plotted = sorted({curve.label for curves in curves_of for curve in curves})
    return [Line2D([], [], label=names[label], **_line(label)) for label in plotted]
