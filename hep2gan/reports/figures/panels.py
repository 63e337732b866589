"""Several methods in one figure: which of them it can show, their panels and their names."""

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions

COLUMNS = 3
"""Panels beside each other across a page."""


def having(methods: Mapping[str, Predictions], array: str) -> dict[str, Predictions]:
    """Return the methods whose predictions hold `array` and at least one cell, in their order.

    Raises Hep2ganError when their classes differ: one key could not name them all.
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


def stacks(
    count: int, heights: Sequence[float], columns: int = COLUMNS, *, foot: float = 0.25
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and for each of `count` methods its panels from top to bottom.

    heights: of the panels with their labels, in inches. foot: room for a key below, in inches.
    `columns` methods beside each other; fewer make a narrower figure of the same panels.
    """
    across = min(count, columns)
    lines = -(-count // across)
    width = max(style.PAGE * across / columns, style.COLUMN if count == 1 else 0)
    figure = style.new_figure(width, lines * sum(heights) + foot)
    depth = len(heights)
    grid = figure.subplots(
        lines * depth, across, squeeze=False, height_ratios=list(heights) * lines
    )
    found = []
    for place in range(lines * across):
        line, column = divmod(place, across)
        panels = [grid[line * depth + level, column] for level in range(depth)]
        if place < count:
            found.append(panels)
        else:
            for ax in panels:
                ax.remove()
    return figure, found


def head_room(names: Sequence[str]) -> float:
    """Return the height in inches of headings: a line of results below each name's lines."""
    return 0.14 * (2 + max(name.count("\n") for name in names))


def key_below(figure: Figure, handles: Sequence[Artist], entry: float = 1.1) -> None:
    """Put one key for all panels below them; its entries are about `entry` inches wide."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=max(1, min(len(handles), int(figure.get_figwidth() / entry))),
        frameon=False,
        fontsize=style.SMALL,
        columnspacing=1.2,
        handletextpad=0.4,
        handlelength=2.6,
    )
