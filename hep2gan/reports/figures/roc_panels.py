"""ROC curves of several methods (the paper's Fig. 4)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hep2gan.reports.figures import style
from hep2gan.reports.figures.panels import COLUMNS, having, head_room, key_below, stacks
from hep2gan.reports.figures.roc import RocCurve, corner_share, draw_roc, roc_curves
from hep2gan.runs.predictions import Predictions

_MOST_AREAS = 8


def figure_4(predictions_by_name: Mapping[str, Predictions]) -> Figure | None:
    """Draw each method's curves, and below them the upper left corner enlarged, alike for all.

    Three methods beside each other, four where there are more. Classes without test cells have
    no curve. Methods without a classifier are left out; None when no curve can be drawn. Raises
    Hep2ganError when classes differ.
    """
    methods = having(predictions_by_name, "probabilities")
    curves = {name: roc_curves(predictions) for name, predictions in methods.items()}
    curves = {name: found for name, found in curves.items() if found}
    if not curves:
        return None
    columns = COLUMNS if len(curves) <= COLUMNS else COLUMNS + 1
    side = style.PAGE / columns
    names = style.headings(list(curves), int(side / 0.078))
    heights = [side + 0.05 + head_room(names), side]
    figure, panels = stacks(len(curves), heights, columns, foot=0.35)
    share = corner_share([curve for found in curves.values() for curve in found])
    for place, key in enumerate(curves):
        whole, corner = panels[place]
        draw_roc(whole, methods[key], curves[key])
        draw_roc(corner, methods[key], curves[key], share)
        style.head(whole, names[place], f"macro AUC {macro_area(curves[key]):.4f}")
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
        look = style.look(label)
        line: dict[str, Any] = {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.3}
        keys.append(Line2D([], [], label=names[label], **line))
    return keys
