"""Figures embedded in an HTML page, with size, caption and alternative text."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from hep2gan.reports.external import ExternalResult
from hep2gan.reports.figures.catalogue import (
    DPI,
    RUN_FIGURES,
    TRAINING_CURVES,
    FigureSpec,
    render_figure,
)
from hep2gan.reports.figures.curves import plot_training_curves
from hep2gan.reports.tables.table import Cell, Table
from hep2gan.runs.fields import FIELDS_FIGURE
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions

FIGURE_HEADINGS = (
    "Methods side by side",
    "Accuracy and its interval",
    "Calibration",
    "Accuracy by specimen",
    "Where to look first",
    "Worst and best field",
)
"""Headings of the figures of several methods, in the order of a report."""
SIDE_BY_SIDE, INTERVALS, CALIBRATION, SPECIMENS, WORST, FIELDS = FIGURE_HEADINGS
_CSS_DPI = 96 * 1.3
_FIELDS = (
    "The fields of lowest and of highest average precision at IoU 0.5: outlines of the true cells "
    "(green), of the cells that were found (purple), and of true cells that are not scored "
    "(yellow)."
)


class Picture(NamedTuple):
    """One figure embedded in a page.

    Attributes:
        name: Name of its files.
        title: Heading above it.
        caption: Text below it.
        alt: Alternative text.
        source: The image as a `data:` address.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
    """

    name: str
    title: str
    caption: str
    alt: str
    source: str
    width: int
    height: int


def make_pictures(run: FinishedRun, predictions: Predictions) -> list[Picture]:
    """Embed all figures of a run in the order of a report.

    Files in its folder figures/ are used if they are intact and no older than their data; other
    figures are plotted, without writing into the run.

    Args:
        run: The run.
        predictions: Its predictions.
    """
    plots: list[tuple[FigureSpec[Any], str, Callable[[], Figure | None]]] = [
        (spec, "predictions.npz", partial(spec.plot, predictions)) for spec in RUN_FIGURES
    ]
    if (log := run.curves) is not None:
        plots.append(
            (TRAINING_CURVES, "metrics.csv", partial(plot_training_curves, log, run.epochs))
        )
    return [
        make_picture(spec, content, f" of run {run.name}")
        for spec, shown, plot in plots
        if (content := _content(run, spec.name, shown, plot)) is not None
    ]


def field_pictures(results: Sequence[ExternalResult]) -> list[Picture]:
    """Embed the figures of the tests on whole fields, one for each set, that are intact.

    They show images of the fields, which no other file of a run holds: they are not plotted again.

    Args:
        results: What the runs do on other sets.
    """
    pictures: list[Picture] = []
    seen = set()
    for one in results:
        folder = RunFolder(one.method.runs[0]).external / one.name / "figures"
        path = folder / f"{FIELDS_FIGURE}.png"
        if not one.fields or one.facts.fingerprint in seen or not path.is_file():
            continue
        if _whole(content := path.read_bytes()):
            seen.add(one.facts.fingerprint)
            spec: FigureSpec[Any] = FigureSpec(
                FIELDS_FIGURE, f"Fields of {one.name}", _FIELDS, lambda _: None
            )
            pictures.append(make_picture(spec, content))
    return pictures


def _content(
    run: FinishedRun, name: str, shown: str, draw: Callable[[], Figure | None]
) -> bytes | None:
    path = run.path / "figures" / f"{name}.png"
    is_current = path.is_file() and path.stat().st_mtime >= (run.path / shown).stat().st_mtime
    if is_current and _whole(content := path.read_bytes()):
        return content
    figure = draw()
    return None if figure is None else render_figure(figure)


def _whole(content: bytes) -> bool:
    """Tell whether a PNG decodes to its last row."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def make_picture(spec: FigureSpec[Any], content: bytes, of: str = "") -> Picture:
    """Embed a figure.

    Args:
        spec: Its kind.
        content: Bytes of a PNG, as from `render_figure`.
        of: Subject of the figure for the alternative text; begins with a space.
    """
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(side * _CSS_DPI / DPI) for side in image.size)
    return Picture(
        spec.file,
        spec.heading,
        spec.caption,
        alt=f"{spec.heading}{of}. {spec.caption}",
        source="data:image/png;base64," + base64.b64encode(content).decode(),
        width=width,
        height=height,
    )


class PagePart(NamedTuple):
    """Content under one heading of a page; what is empty is left out.

    Attributes:
        title: The heading.
        text: A paragraph.
        points: Findings, one per line, with the runs that they concern.
        table: A table.
        pictures: Figures.
        alarm: Whether it is highlighted as a problem.
    """

    title: str
    text: str = ""
    points: Sequence[Cell] = ()
    table: Table | None = None
    pictures: Sequence[Picture] = ()
    alarm: bool = False
