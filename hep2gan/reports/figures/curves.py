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
_OUTPUTS = {"p_real": "D(true mask)", "p_fake": "D(generated mask)"}
_NAMES = {**_OUTPUTS, "dice": "Dice", "f1": "F1", "jaccard": "Jaccard", "l1": "L1"}
_SHORT = 13
"""Characters of a name up to which a panel has room for two beside each other."""
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
    names = [_legend_names(title, members) for title, members in panels.items()]
    entries = [
        max(map(_legend_lines, names[n : n + columns])) for n in range(0, len(names), columns)
    ]
    figure = style.new_figure(style.PAGE * columns / 3, 2.35 * lines + 0.13 * sum(entries))
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (title, members), words in zip(axes, panels.items(), names, strict=False):
        _plot_panel(ax, title, members, words)
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
    if name.rpartition("/")[2] in _OUTPUTS:
        return _OUTPUT
    if name == "val/hd95":
        return _DISTANCE
    return next(title for prefix, title in _PANELS.items() if name.startswith(prefix))


def _legend_names(title: str, members: Sequence[Series]) -> list[str]:
    """Name the series of a panel briefly; a single one that the title names has no legend."""
    if title == _DISTANCE:
        return []
    last = [one.name.rpartition("/")[2] for one in members]
    names = [_NAMES.get(name, name.replace("_", " ")) for name in last]
    return style.legend_names(names, 24 if len(names) <= 6 else _SHORT)


def _legend_lines(names: Sequence[str]) -> int:
    return -(-len(names) // _legend_columns(names))


def _legend_columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names), default=0) <= _SHORT else 1


def _plot_panel(ax: Axes, title: str, members: Sequence[Series], names: Sequence[str]) -> None:
    """Plot one panel, its legend below it, with markers if there are few epochs."""
    for place, one in enumerate(members):
        look = style.series_style(place)
        ax.plot(
            one.epoch,
            one.value,
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.2,
            marker=look.marker if len(one.epoch) <= 20 else "",
            markersize=2.6,
            drawstyle="steps-post" if title == _RATE else "default",
            label=names[place] if names else "_only",
        )
    style.style_axes(ax, xlabel="epoch", title=style.plain_text(title))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if _spans_decades(members, 0 if title == _RATE else _LOG_SCALE_DECADES):
        ax.set_yscale("log")
    if title == _OUTPUT:
        ax.set_ylim(-0.02, 1.02)
    if names:
        # Below the label of the axis: within the panel it would cover lines.
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            borderaxespad=4.2,
            ncols=_legend_columns(names),
            fontsize=style.SMALL,
            frameon=False,
            handlelength=2.2,
            labelspacing=0.25,
            columnspacing=1.2,
            borderpad=0.0,
        )


def _spans_decades(members: Sequence[Series], decades: float) -> bool:
    """Tell whether all values are positive and span more than `decades` powers of ten."""
    values = np.concatenate([one.value for one in members])
    values = values[np.isfinite(values)]
    if not values.size or values.min() <= 0:
        return False
    return math.log10(values.max() / values.min()) > decades
