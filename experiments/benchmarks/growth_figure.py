"""The figure of how a training step grows: time and memory over image size, a line a batch."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.benchmarks.growth_fit import Growth
from experiments.benchmarks.rows import number
from hep2gan.reports.figures import style

Costs = Mapping[tuple[int, int], float]


def growth_figure(panels: Mapping[str, tuple[Costs, Growth | None]]) -> Figure:
    """A panel a cost, by the label of its axis; both axes logarithmic, fits as thin grey lines."""
    figure = style.new_figure(style.PAGE, 2.7)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, (costs, fit)) in zip(axes, panels.items(), strict=True):
        _draw(ax, costs, fit)
        style.style_axes(ax, xlabel="image size (px)", ylabel=label)
        _scale(ax, sorted({size for size, _ in costs}))
    axes[0].legend(fontsize=style.SMALL, frameon=False, labelcolor=style.INK)
    return figure


def _draw(ax: Axes, costs: Costs, fit: Growth | None) -> None:
    sizes = sorted({size for size, _ in costs})
    for place, batch in enumerate(sorted({batch for _, batch in costs})):
        color, marker, line = style.series_style(place)
        own = [size for size in sizes if (size, batch) in costs]
        if fit is not None:
            fitted = [fit.at(size, batch) for size in own]
            ax.plot(own, fitted, color=style.QUIET, linewidth=0.6, label="" if place else "fit")
        ax.plot(
            own,
            [costs[size, batch] for size in own],
            color=color,
            marker=marker,
            linestyle=line,
            linewidth=1.2,
            markersize=4.5,
            label=f"batch {batch}",
        )
    if fit is not None:
        words = f"size$^{{{fit.of_size:.2f}}}$ · batch$^{{{fit.of_batch:.2f}}}$"
        ax.text(0.98, 0.03, words, transform=ax.transAxes, fontsize=style.SMALL, ha="right")


def _scale(ax: Axes, sizes: list[int]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    # From one of 1, 2, 5 to another, so that narrow ranges have two ticks as well.
    steps = [n * 10.0**power for power in range(-4, 8) for n in (1, 2, 5)]
    low, high = ax.get_ylim()
    ends = max(s for s in steps if s <= low), min(s for s in steps if s >= high)
    ax.set_ylim(ends)
    ax.set_yticks([step for step in steps if ends[0] <= step <= ends[1]])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.yaxis.set_minor_locator(NullLocator())
