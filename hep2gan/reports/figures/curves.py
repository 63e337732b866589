"""Training curves: what metrics.csv holds, by epoch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hep2gan.reports.figures import style
from hep2gan.runs.metrics_csv import Series, read_series

_OUTPUT, _DISTANCE, _RATE = "Discriminator output", "Validation HD95 (px)", "Learning rate"
_PANELS = {
    "train/generator": "Generator loss",
    "train/discriminator": "Discriminator loss",
    "train/classifier": "Classifier loss",
    "train/": "Training",
    "val/dice/": "Dice by class",
    "val/accuracy/": "Accuracy by class",
    "val/": "Validation",
    "lr": _RATE,
}
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
_LOG_SCALE_DECADES = 1.5


def plot_training_curves(path: Path, epochs: int | None = None) -> Figure | None:
    """Plot losses, discriminator outputs, learning rates and validation metrics by epoch.

    Three panels a row, only those that the run has.

    Args:
        path: A metrics.csv.
        epochs: Number of epochs of the training; None if unknown.

    Returns:
        The figure; None if the file holds no such value.

    Raises:
        Hep2ganError: If the file is missing or damaged, or lacks an epoch.
    """
    panels = sort_into_panels(read_series(path, epochs))
    if not panels:
        return None
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = style.new_figure(style.PAGE * columns / 3, 2.35 * lines)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (title, members) in zip(axes, panels.items(), strict=False):
        _plot_panel(ax, title, members)
    return figure


def sort_into_panels(series: Mapping[str, Series]) -> dict[str, list[Series]]:
    """Sort series into panels; pixels and fractions never share an axis.

    Args:
        series: Series by name.

    Returns:
        Series by title of the panel, in the order of the figure.
    """
    panels: dict[str, list[Series]] = {title: [] for title in _ORDER}
    for name, one in sorted(series.items()):
        panels[_panel(name)].append(one)
    return {title: members for title, members in panels.items() if members}


def _panel(name: str) -> str:
    if name.rpartition("/")[2] in _NAMES:
        return _OUTPUT
    if name == "val/hd95":
        return _DISTANCE
    return next(title for prefix, title in _PANELS.items() if name.startswith(prefix))


def _plot_panel(ax: Axes, title: str, members: Sequence[Series]) -> None:
    """Plot one panel, with markers if there are few epochs."""
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
    if _spans_decades(members, 0 if title == _RATE else _LOG_SCALE_DECADES):
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


def _spans_decades(members: Sequence[Series], decades: float) -> bool:
    """Tell whether all values are positive and span more than `decades` powers of ten."""
    values = np.concatenate([one.value for one in members])
    values = values[np.isfinite(values)]
    if not values.size or values.min() <= 0:
        return False
    return math.log10(values.max() / values.min()) > decades
