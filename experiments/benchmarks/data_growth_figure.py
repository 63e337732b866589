"""The figure of `data_growth`: each cost over the number of cells, both axes logarithmic."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from experiments.benchmarks.data_growth import Cost

# Okabe and Ito's colours, told apart by the colour-blind; markers tell them apart in grey.
LINES = {
    "random": ("random split", "#0072B2", "o"),
    "specimen": ("specimen split", "#56B4E9", "s"),
    "order": ("order of an epoch", "#009E73", "^"),
    "first": ("first batch", "#D55E00", "D"),
    "opening": ("opening", "#CC79A7", "v"),
    "batch": ("a batch of 16", "#000000", "x"),
}


def draw(costs: Sequence["Cost"], path: Path) -> None:
    """Write the figure; its format is that of the path's suffix."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    cells = [cost.cells for cost in costs]
    for name, (label, colour, marker) in LINES.items():
        values = [getattr(cost, name) for cost in costs]
        axes.plot(cells, values, color=colour, marker=marker, label=label)
    axes.set(xscale="log", yscale="log", xlabel="cells in the store", ylabel="milliseconds")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
