"""Receiver operating characteristic, each class against the rest (the paper's Fig. 4)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import auc, roc_curve

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.style import COLUMNS, head_room, key_below, methods_with, stacks
from hep2gan.runs.predictions import Predictions

_HEAD: dict[str, Any] = {"fontsize": style.TITLE, "color": style.INK, "loc": "left"}


class RocCurve(NamedTuple):
    """One class against the rest: rates in 0..1 at falling thresholds, area under the curve."""

    label: int
    false_positive_rate: npt.NDArray[np.float64]
    true_positive_rate: npt.NDArray[np.float64]
    area: float


def roc_curves(predictions: Predictions) -> list[RocCurve]:
    """Return the curve of every class that has both cells of its own and cells of others.

    Raises Hep2ganError without a classifier.
    """
    if predictions.probabilities is None:
        raise Hep2ganError("these predictions hold no class probabilities")
    curves = []
    for label in range(len(predictions.classes)):
        own = predictions.label == label
        if own.any() and not own.all():
            false_rate, true_rate, _ = roc_curve(own, predictions.probabilities[:, label])
            area = float(auc(false_rate, true_rate))
            curves.append(RocCurve(label, false_rate, true_rate, area))
    return curves


def roc(predictions: Predictions) -> Figure | None:
    """Draw all classes, and their upper left corner enlarged, where good classifiers differ.

    Classes without test cells are left out and named. None when no curve can be drawn.
    """
    if predictions.probabilities is None:
        return None
    curves = roc_curves(predictions)
    if not curves:
        return None
    figure = style.new_figure(style.PAGE, style.PAGE / 2 + 0.3)
    whole, corner = figure.subplots(1, 2)
    plot_roc(whole, predictions, curves)
    whole.set_title("Each class against the rest", **_HEAD)
    whole.legend(
        loc="lower right",
        fontsize=style.SMALL,
        frameon=False,
        handlelength=2.6,
        title=_missing(predictions, curves),
        title_fontsize=style.SMALL,
        alignment="left",
    )
    share = corner_share(curves)
    plot_roc(corner, predictions, curves, share)
    corner.set(ylabel="")
    corner.set_title(_magnified(share), **_HEAD)
    return figure


def plot_roc(
    ax: Axes, predictions: Predictions, curves: Sequence[RocCurve], share: float = 1.0
) -> None:
    """Draw one line a class, its area in its label; the upper left `share` of both axes."""
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.6, linestyle=":", label="_chance")
    names = style.key_names(predictions.classes, 20)
    for curve in curves:
        look = style.series_style(curve.label)
        ax.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.3,
            label=f"{names[curve.label]} (AUC {curve.area:.4f})",
        )
    style.style_axes(ax, xlabel="false positive rate", ylabel="true positive rate")
    ax.set_aspect("equal", anchor="N")
    margin = 0.02 * share
    ax.set(xlim=(-margin, share), ylim=(1 - share, 1 + margin))
    if share == 1:
        ax.set(xlim=(-margin, 1 + margin), ylim=(-margin, 1 + margin))


def corner_share(curves: Sequence[RocCurve]) -> float:
    """Return as large a part of the axes as the worst curve needs: 1/10, 1/4 or 1/2."""
    lowest = min(curve.area for curve in curves)
    if lowest > 0.98:
        return 0.1
    return 0.25 if lowest > 0.9 else 0.5


def _magnified(share: float) -> str:
    return f"Upper left corner × {1 / share:.0f}"


def _missing(predictions: Predictions, curves: Sequence[RocCurve]) -> str:
    """Say which classes have no curve."""
    drawn = {curve.label for curve in curves}
    names = [name for label, name in enumerate(predictions.classes) if label not in drawn]
    return style.shorten(f"no curve, no test cells: {', '.join(names)}", 46) if names else ""


_MOST_AREAS = 8


def figure_4(predictions_by_name: Mapping[str, Predictions]) -> Figure | None:
    """Draw each method's curves, and below them the upper left corner enlarged, alike for all.

    Three methods beside each other, four where there are more. Classes without test cells have
    no curve. Methods without a classifier are left out; None when no curve can be drawn. Raises
    Hep2ganError when classes differ.
    """
    methods = methods_with(predictions_by_name, "probabilities")
    curves = {name: roc_curves(predictions) for name, predictions in methods.items()}
    curves = {name: found for name, found in curves.items() if found}
    if not curves:
        return None
    columns = COLUMNS if len(curves) <= COLUMNS else COLUMNS + 1
    side = style.PAGE / columns
    names = style.wrap_headings(list(curves), int(side / 0.078))
    heights = [side + 0.05 + head_room(names), side]
    figure, panels = stacks(len(curves), heights, columns, foot=0.35)
    share = corner_share([curve for found in curves.values() for curve in found])
    for place, key in enumerate(curves):
        whole, corner = panels[place]
        plot_roc(whole, methods[key], curves[key])
        plot_roc(corner, methods[key], curves[key], share)
        style.add_heading(whole, names[place], f"macro AUC {macro_area(curves[key]):.4f}")
        _list_areas(whole, methods[key], curves[key])
        for ax in (whole, corner) if place % columns else ():
            ax.set_ylabel("")
        corner.set_title(f"corner × {1 / share:.0f}", fontsize=style.SMALL, color=style.QUIET)
    key_below(figure, _key(next(iter(methods.values())).classes, curves.values()))
    return figure


def macro_area(curves: Sequence[RocCurve]) -> float:
    """Return the mean area under the curves, every class with a curve counting alike."""
    return float(np.mean([curve.area for curve in curves]))


def _list_areas(ax: Axes, predictions: Predictions, curves: Sequence[RocCurve]) -> None:
    """List the areas of few classes below the curves, where good ones leave room."""
    if len(curves) <= _MOST_AREAS:
        names = style.short_names(predictions.classes)
        text = "\n".join(f"{names[curve.label]} {curve.area:.4f}" for curve in curves)
        place: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "bottom"}
        ax.text(0.97, 0.03, text, fontsize=style.SMALL, color=style.INK, **place)


def _key(classes: Sequence[str], found: Iterable[Sequence[RocCurve]]) -> list[Line2D]:
    """Return a line of each class that has a curve in any panel."""
    drawn = sorted({curve.label for curves in found for curve in curves})
    names = style.key_names(classes, 16)
    keys = []
    for label in drawn:
        look = style.series_style(label)
        line: dict[str, Any] = {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.3}
        keys.append(Line2D([], [], label=names[label], **line))
    return keys
