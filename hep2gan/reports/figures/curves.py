"""Training curves: what metrics.csv holds, by epoch."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hep2gan.reports.figures import style
from hep2gan.runs.metrics_csv import Series, read_series

_PANELS = {
    "train/generator": "Generator loss",
    "train/discriminator": "Discriminator loss",
    "train/classifier": "Classifier loss",
    "train/": "Training",
    "val/dice/": "Dice by class",
    "val/accuracy/": "Accuracy by class",
    "val/": "Validation",
    "lr": "Learning rate",
}
_OUTPUT, _DISTANCE, _RATE = "Discriminator output", "Validation HD95 (px)", "Learning rate"
_ORDER = (
    "Generator loss",
    "Discriminator loss",
    _OUTPUT,
    "Classifier loss",
    "Training",
    "Validation",
    "Dice by class",
    "Accuracy by class",
    _DISTANCE,
    _RATE,
)
_NAMES = {"p_real": "D(true mask)", "p_fake": "D(generated mask)"}
_DECADES = 1.5


def panels(series: dict[str, Series]) -> dict[str, list[Series]]:
    """Sort series into small multiples, by title; pixels and fractions never share an axis."""
    sorted_in: dict[str, list[Series]] = {title: [] for title in _ORDER}
    for name, one in sorted(series.items()):
        sorted_in[_panel(name)].append(one)
    return {title: found for title, found in sorted_in.items() if found}


def _panel(name: str) -> str:
    last = name.rpartition("/")[2]
    if last in _NAMES:
        return _OUTPUT
    if name == "val/hd95":
        return _DISTANCE
    return next(title for prefix, title in _PANELS.items() if name.startswith(prefix))


def curves(path: Path, epochs: int | None = None) -> Figure | None:
    """Draw losses, D's opinion, learning rates and validation metrics of metrics.csv by epoch.

    Three panels a row, only those that the run has. None when the file holds no such value.
    epochs: how many there were, where that is known. Raises Hep2ganError when the file cannot be
    read or lacks one of them.
    """
    grouped = panels(read_series(path, epochs))
    if not grouped:
        return None
    columns = min(len(grouped), 3)
    lines = -(-len(grouped) // columns)
    figure = style.new_figure(style.PAGE * columns / 3, 2.35 * lines)
    axes = figure.subplots(lines, columns, squeeze=False)
    for place, ax in enumerate(axes.flat):
        if place >= len(grouped):
            ax.remove()
    for ax, (title, members) in zip(axes.flat, grouped.items(), strict=False):
        _draw(ax, title, members)
    return figure


def _draw(ax: Axes, title: str, members: list[Series]) -> None:
    """Draw one panel; dots as well where the epochs are few."""
    for place, one in enumerate(members):
        look = style.series_style(place)
        last = one.name.rpartition("/")[2]
        ax.plot(
            one.epoch,
            one.value,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.2,
            marker=look.marker if len(one.epoch) <= 20 else "",
            markersize=2.6,
            drawstyle="steps-post" if title == _RATE else "default",
            label=style.shorten(_NAMES.get(last, last.replace("_", " ")), 24),
        )
    style.style_axes(ax, xlabel="epoch", title=style.plain_text(title))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if _is_wide(members, 0 if title == _RATE else _DECADES):
        ax.set_yscale("log")
    if title == _OUTPUT:
        ax.set_ylim(-0.02, 1.02)
    ax.legend(
        fontsize=style.SMALL,
        framealpha=0.85,
        edgecolor="none",
        handlelength=2.2,
        labelspacing=0.25,
        borderpad=0.2,
    )


def _is_wide(members: list[Series], decades: float) -> bool:
    """Tell whether all values are positive and span more than so many powers of ten."""
    values = np.concatenate([one.value for one in members])
    values = values[np.isfinite(values)]
    if not values.size or values.min() <= 0:
        return False
    return math.log10(values.max() / values.min()) > decades
