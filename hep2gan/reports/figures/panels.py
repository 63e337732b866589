"""Several methods in one figure: which of them, and where their panels stand."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.labels import wrap_headings
from hep2gan.runs.predictions import Predictions

COLUMNS = 3
"""Panels beside each other across a page."""


def methods_with(methods: Mapping[str, Predictions], array: str) -> dict[str, Predictions]:
    """Return the methods whose predictions hold `array` and at least one cell, in their order.

    Raises Hep2ganError when their classes differ: one legend could not name them all.
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


class MethodPanels(NamedTuple):
    """A figure with the panels of several methods."""

    figure: Figure
    headings: list[str]
    """Each method's name, to stand above its first panel."""
    axes: list[list[Axes]]
    """Each method's panels from top to bottom."""


def method_panels(
    names: Sequence[str], heights: Sequence[float], columns: int = COLUMNS, *, foot: float = 0.25
) -> MethodPanels:
    """Lay out the panels of methods, `columns` beside each other; fewer make a narrower figure.

    Args:
        names: of the methods, at least one.
        heights: of a method's panels with their labels in inches, without the heading.
        columns: panels beside each other across a page.
        foot: room for a legend below, in inches.
    """
    headings = wrap_headings(names, int(style.PAGE / columns / 0.078))
    # Below each name's lines stands a line of results.
    room = 0.14 * (2 + max(heading.count("\n") for heading in headings))
    heights = [heights[0] + room, *heights[1:]]
    across, depth = min(len(names), columns), len(heights)
    lines = -(-len(names) // across)
    width = max(style.PAGE * across / columns, style.COLUMN if len(names) == 1 else 0)
    figure = style.new_figure(width, lines * sum(heights) + foot)
    grid = figure.subplots(
        lines * depth, across, squeeze=False, height_ratios=list(heights) * lines
    )
    places = [divmod(place, across) for place in range(lines * across)]
    axes = [list(grid[line * depth : (line + 1) * depth, column]) for line, column in places]
    for ax in (ax for panels in axes[len(names) :] for ax in panels):
        ax.remove()
    return MethodPanels(figure, headings, axes[: len(names)])


def drop_inner_ylabels(axes: Sequence[Sequence[Axes]], columns: int = COLUMNS) -> None:
    """Leave the label of the vertical axis to the first panel of each line."""
    for place, panels in enumerate(axes):
        for ax in panels if place % columns else ():
            ax.set_ylabel("")
