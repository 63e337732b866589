"""The figures that show several methods side by side."""

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from hep2gan.io import atomic_write
from hep2gan.reports.figures.calibration import calibration, figure_calibration
from hep2gan.reports.figures.confusion import confusion, figure_3
from hep2gan.reports.figures.contours import contours, figure_2
from hep2gan.reports.figures.curves import curves as draw_curves
from hep2gan.reports.figures.embedding import figure_5, tsne
from hep2gan.reports.figures.roc import figure_4, roc
from hep2gan.reports.figures.specimens import specimens
from hep2gan.reports.figures.worst import worst_classified, worst_segmented
from hep2gan.runs.predictions import Predictions


class ComparisonFigure(NamedTuple):
    """One figure of several methods: its file name, title and caption, and what draws it.

    draw: from what stands above each method's panels to its predictions, in the order of the
    panels; None where no method has what the figure shows.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Mapping[str, Predictions]], Figure | None]


COMPARISON_FIGURES: tuple[ComparisonFigure, ...] = (
    ComparisonFigure(
        "figure_2",
        "Contours",
        "The cell of median Dice of each class: as the networks see it, and below with the "
        "outlines of each method's mask (purple) and of the true mask (green). After the paper's "
        "Fig. 2.",
        figure_2,
    ),
    ComparisonFigure(
        "figure_3",
        "Confusion matrices",
        "Cells of each true class (rows) by the class they are read as (columns). After the "
        "paper's Fig. 3.",
        figure_3,
    ),
    ComparisonFigure(
        "figure_4",
        "ROC curves",
        "Each class against the rest, and below the upper left corner enlarged. After the paper's "
        "Fig. 4.",
        figure_4,
    ),
    ComparisonFigure(
        "figure_5",
        "Features, by t-SNE",
        "Each classifier's features in two dimensions, coloured by true class; misread cells are "
        "ringed. Distances between clusters mean nothing. After the paper's Fig. 5.",
        figure_5,
    ),
    ComparisonFigure(
        "calibration",
        "Calibration",
        "How often cells are read right, by how sure the classifier is, and how many cells are how "
        "sure. Once as trained, once at a temperature T that is fitted on the other half of the "
        "cells; ECE is the expected calibration error in 15 bins.",
        figure_calibration,
    ),
)
"""In the order of a report; the numbers are the paper's."""

DPI = 200
_SAVING = threading.Lock()


class RunFigure(NamedTuple):
    """One kind of figure: its file name, how it is drawn, and what it shows in words."""

    name: str
    draw: Callable[[Predictions], Figure | None]
    title: str
    caption: str


RUN_FIGURES: tuple[RunFigure, ...] = (
    RunFigure(
        "contours",
        contours,
        "Contours",
        "The cell of median Dice of each class: above as the networks see it, below with the "
        "outline of the generated mask (purple) and of the true mask (green). After the paper's "
        "Fig. 2.",
    ),
    RunFigure(
        "confusion",
        confusion,
        "Confusion matrix",
        "Cells of each true class (rows) by the class they are read as (columns), with the share "
        "of the row. After the paper's Fig. 3.",
    ),
    RunFigure(
        "tsne",
        tsne,
        "Features, by t-SNE",
        "The classifier's features in two dimensions, coloured by true class; misread cells are "
        "ringed. Distances between clusters mean nothing. After the paper's Fig. 5.",
    ),
    RunFigure(
        "roc",
        roc,
        "ROC curves",
        "Each class against the rest, and the upper left corner enlarged; AUC is the area under "
        "the curve. After the paper's Fig. 4.",
    ),
    RunFigure(
        "calibration",
        calibration,
        "Calibration",
        "How often cells are read right, by how sure the classifier is, and how many cells are how "
        "sure. Once as trained, once at a temperature T that is fitted on the other half of the "
        "cells; ECE is the expected calibration error in 15 bins.",
    ),
    RunFigure(
        "specimens",
        specimens,
        "Accuracy by specimen",
        "A dot a specimen, in rising order within its class; lines mark the accuracy on all cells "
        "of the class, rings the specimens most of whose cells are read as a wrong class.",
    ),
    RunFigure(
        "worst_segmented",
        worst_segmented,
        "Lowest Dice",
        "The cells whose generated masks (purple) fit the true masks (green) worst, with class "
        "and id.",
    ),
    RunFigure(
        "worst_classified",
        worst_classified,
        "Most confident misreadings",
        "Misread cells, those first of whose wrong class the classifier is most sure, with its "
        "probability and the id.",
    ),
)
"""Every figure that is a function of the predictions, in the order of a report."""

CURVES = "curves"
CURVES_TITLE = "Training curves"
CURVES_CAPTION = "Means over each epoch, as logged in metrics.csv."


def write_figures(
    predictions: Predictions, folder: Path, curves: Path | None = None
) -> dict[str, Path]:
    """Write every figure that the method has as `<name>.png` (200 dpi) and `<name>.pdf`.

    curves: a metrics.csv, for the training curves, where there is one. Returns name to PNG. Files
    of an earlier evaluation that this one does not have are removed. Raises Hep2ganError when the
    predictions are inconsistent or metrics.csv is damaged; no file is ever half written.
    """
    predictions.check()
    figures = {drawing.name: drawing.draw(predictions) for drawing in RUN_FIGURES}
    figures[CURVES] = draw_curves(curves) if curves and curves.is_file() else None
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, figure in figures.items():
        for form in ("pdf", "png"):
            path = folder / f"{name}.{form}"
            if figure is None:
                path.unlink(missing_ok=True)
            else:
                atomic_write(path, render_figure(figure, form))
        if figure is not None:
            written[name] = folder / f"{name}.png"
    return written


def render_figure(figure: Figure, form: str = "png") -> bytes:
    """Return the file's bytes; the same figure gives the same bytes, without a date.

    Fonts go into PDF as TrueType, which publishers ask for.
    """
    date = {"CreationDate": None} if form == "pdf" else {"Software": None}
    buffer = io.BytesIO()
    # The setting for fonts is global in matplotlib: one file at a time.
    with _SAVING, mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format=form, dpi=DPI, metadata=date)
    # Laid out once is enough, and the PDF and the PNG of a figure agree.
    figure.set_layout_engine("none")
    return buffer.getvalue()
