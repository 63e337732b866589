"""The figures that show several methods side by side."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from matplotlib.figure import Figure

from hep2gan.reports.figures.calibration import figure_calibration
from hep2gan.reports.figures.confusion import figure_3
from hep2gan.reports.figures.contours import figure_2
from hep2gan.reports.figures.embedding import figure_5
from hep2gan.reports.figures.roc_panels import figure_4
from hep2gan.runs.predictions import Predictions


class Comparison(NamedTuple):
    """One figure of several methods: its file name, title and caption, and what draws it.

    draw: from what stands above each method's panels to its predictions, in the order of the
    panels; None where no method has what the figure shows.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Mapping[str, Predictions]], Figure | None]


COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "figure_2",
        "Contours",
        "The cell of median Dice of each class: as the networks see it, and below with the "
        "outlines of each method's mask (purple) and of the true mask (green). After the paper's "
        "Fig. 2.",
        figure_2,
    ),
    Comparison(
        "figure_3",
        "Confusion matrices",
        "Cells of each true class (rows) by the class they are read as (columns). After the "
        "paper's Fig. 3.",
        figure_3,
    ),
    Comparison(
        "figure_4",
        "ROC curves",
        "Each class against the rest, and below the upper left corner enlarged. After the paper's "
        "Fig. 4.",
        figure_4,
    ),
    Comparison(
        "figure_5",
        "Features, by t-SNE",
        "Each classifier's features in two dimensions, coloured by true class; misread cells are "
        "ringed. Distances between clusters mean nothing. After the paper's Fig. 5.",
        figure_5,
    ),
    Comparison(
        "calibration",
        "Calibration",
        "How often cells are read right, by how sure the classifier is, and how many cells are how "
        "sure. Once as trained, once at a temperature T that is fitted on the other half of the "
        "cells; ECE is the expected calibration error in 15 bins.",
        figure_calibration,
    ),
)
"""In the order of a report; the numbers are the paper's."""
