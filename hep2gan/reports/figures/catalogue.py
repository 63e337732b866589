"""All figures with their names and captions, and how they are plotted and saved."""

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure

from hep2gan.io import atomic_write
from hep2gan.reports.figures import (
    calibration,
    cells,
    confusion,
    curves,
    embedding,
    roc,
    specimens,
    trust,
)
from hep2gan.reports.figures.fonts import use_fonts
from hep2gan.runs.predictions import Predictions

DPI = 200

_SAVING = threading.Lock()
_CALIBRATION = (
    "Accuracy by confidence of the classifier, and the share of cells by confidence: as trained, "
    "and at a temperature T that is fitted on the validation part, or on the other half of the "
    "cells where there is none. ECE is the expected calibration error in 15 bins."
)

Data = TypeVar("Data")


class FigureSpec(NamedTuple, Generic[Data]):
    """One kind of figure.

    Attributes:
        name: Its name.
        title: Its title on a page.
        caption: What it shows, in words.
        plot: Function from the data to the figure; None if the data lack what it shows.
        method: Title of the method whose figure it is, if there are several such figures.
    """

    name: str
    title: str
    caption: str
    plot: Callable[[Data], Figure | None]
    method: str = ""

    @property
    def file(self) -> str:
        """The name of its files, without the ending."""
        return f"{self.name}_{self.method.replace('/', '_')}" if self.method else self.name

    @property
    def heading(self) -> str:
        """Its heading on a page."""
        return f"{self.title}: {self.method}" if self.method else self.title


RUN_FIGURES: tuple[FigureSpec[Predictions], ...] = (
    FigureSpec(
        "contours",
        "Contours",
        "The cell of median Dice of each class: above as the networks see it, below with the "
        "outline of the generated mask (purple) and of the true mask (green), where there are "
        "such. After the paper's Fig. 2.",
        cells.plot_contours,
    ),
    FigureSpec(
        "confusion",
        "Confusion matrix",
        "Cells by true class (rows) and predicted class (columns), with the share of the row. "
        "After the paper's Fig. 3.",
        confusion.plot_confusion,
    ),
    FigureSpec(
        "tsne",
        "Features, by t-SNE",
        "The classifier's features in two dimensions, coloured by true class; rings mark "
        "misclassified cells. Distances between clusters have no meaning. After the paper's "
        "Fig. 5.",
        embedding.plot_embedding,
    ),
    FigureSpec(
        "roc",
        "ROC curves",
        "Each class against the rest, and the upper left corner enlarged; AUC is the area under "
        "the curve. After the paper's Fig. 4.",
        roc.plot_roc,
    ),
    FigureSpec("calibration", "Calibration", _CALIBRATION, calibration.plot_calibration),
    FigureSpec(
        "trust",
        "Errors by coverage, and limits",
        "How many of the cells are misclassified if only the surest are kept, beside an order by "
        "chance and one that puts every error last. Entropies of the test cells and, where the "
        "method has a Gaussian mixture, distances to its nearest mean, with the limits beyond "
        "which a cell is called unlike the training; what lies beyond the axis is in its last bin.",
        trust.plot_trust,
    ),
    FigureSpec(
        "specimens",
        "Accuracy by specimen",
        "One dot a specimen, in ascending order within its class; lines mark the accuracy on all "
        "cells of the class, rings the specimens that the majority vote of their cells "
        "misclassifies.",
        specimens.plot_specimens,
    ),
    FigureSpec(
        "worst_segmented",
        "Lowest Dice",
        "The cells whose generated masks (purple) fit the true masks (green) worst, with class "
        "and id.",
        cells.plot_worst_segmented,
    ),
    FigureSpec(
        "worst_classified",
        "Most confident errors",
        "Misread cells, those first of whose wrong class the classifier is most sure, with its "
        "probability and the id.",
        cells.plot_worst_classified,
    ),
)
"""Figures of one method's predictions, in the order of a report."""

TRAINING_CURVES: FigureSpec[Path] = FigureSpec(
    "curves",
    "Training curves",
    "Means over each epoch, as logged in metrics.csv.",
    curves.plot_training_curves,
)

COMPARISON_FIGURES: tuple[FigureSpec[Mapping[str, Predictions]], ...] = (
    FigureSpec(
        "figure_2",
        "Contours",
        "The cell of median Dice of each class: as the networks see it, and below with the "
        "outlines of each method's mask (purple) and of the true mask (green), and their Dice. "
        "After the paper's Fig. 2.",
        cells.plot_contours_by_method,
    ),
    FigureSpec(
        "figure_3",
        "Confusion matrices",
        "Cells by true class (rows) and predicted class (columns). After the paper's Fig. 3.",
        confusion.plot_confusion_by_method,
    ),
    FigureSpec(
        "figure_4",
        "ROC curves",
        "Each class against the rest, and below the upper left corner enlarged. After the paper's "
        "Fig. 4.",
        roc.plot_roc_by_method,
    ),
    FigureSpec(
        "figure_5",
        "Features, by t-SNE",
        "Each classifier's features in two dimensions, coloured by true class; rings mark "
        "misclassified cells. Distances between clusters have no meaning. After the paper's "
        "Fig. 5.",
        embedding.plot_embedding_by_method,
    ),
    FigureSpec("calibration", "Calibration", _CALIBRATION, calibration.plot_calibration_by_method),
)
"""Figures of several methods by title, in the order of a report; the numbers are the paper's."""


def write_figures(
    predictions: Predictions, folder: Path, log: Path | None = None
) -> dict[str, Path]:
    """Write every figure that the method has as `<name>.png` (200 dpi) and `<name>.pdf`.

    Figures of an earlier evaluation that this one does not have are removed; files are written
    completely or not at all.

    Args:
        predictions: Predictions that the figures show.
        folder: Folder of the files; created if missing.
        log: A metrics.csv for the training curves, or None.

    Returns:
        The PNG file of each figure by its name.

    Raises:
        Hep2ganError: If the predictions are inconsistent or metrics.csv is damaged.
    """
    predictions.check()
    figures = {spec.name: spec.plot(predictions) for spec in RUN_FIGURES}
    figures[TRAINING_CURVES.name] = TRAINING_CURVES.plot(log) if log and log.is_file() else None
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, figure in figures.items():
        for form in ("pdf", "png"):
            path = folder / f"{name}.{form}"
            if figure is None:
                path.unlink(missing_ok=True)
            else:
                atomic_write(path, render_figure(figure, form))
                written[name] = path
    return written


def render_figure(figure: Figure, form: str = "png") -> bytes:
    """Render a figure; the same figure gives the same bytes, without a date.

    Fonts are embedded in PDF as TrueType, which publishers require.

    Args:
        figure: The figure; its layout is fixed by the first rendering.
        form: png or pdf.

    Returns:
        Content of the file.
    """
    date = {"CreationDate": None} if form == "pdf" else {"Software": None}
    buffer = io.BytesIO()
    use_fonts(figure)
    # The font setting is global in matplotlib, hence one file at a time.
    with _SAVING, mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format=form, dpi=DPI, metadata=date)
    # Further renderings keep the layout, so that PDF and PNG agree.
    figure.set_layout_engine("none")
    return buffer.getvalue()
