"""The figures that show several methods side by side, and their files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from hep2gan.predictions import Predictions
from hep2gan.reports.confusion import figure_3
from hep2gan.reports.contours import figure_2
from hep2gan.reports.embedding import figure_5
from hep2gan.reports.figures import write_drawn
from hep2gan.reports.reliability import figure_calibration
from hep2gan.reports.roc_panels import figure_4

FORMS = ("pdf", "svg", "png")

COMPARISONS: dict[str, Callable[[Mapping[str, Predictions]], Figure | None]] = {
    "figure_2": figure_2,
    "figure_3": figure_3,
    "figure_4": figure_4,
    "figure_5": figure_5,
    "calibration": figure_calibration,
}
"""File name to what draws it; the numbers are the paper's."""


def write_comparison_figures(
    predictions_by_name: Mapping[str, Predictions], folder: Path
) -> dict[str, Path]:
    """Write the figures that these methods have as PDF, SVG and PNG (200 dpi).

    predictions_by_name: what stands above each method's panels, to its predictions, in the order
    of the panels. Returns name to PNG. Files of an earlier comparison that this one does not have
    are removed. Raises Hep2ganError when predictions are inconsistent or classes differ; then
    nothing is written.
    """
    for predictions in predictions_by_name.values():
        predictions.check()
    drawn = {name: draw(predictions_by_name) for name, draw in COMPARISONS.items()}
    return write_drawn(drawn, folder, FORMS)
