"""Figures as they stand in an HTML file: embedded, with size, caption and alt text."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from hep2gan.reports.figures.catalogue import (
    DPI,
    RUN_FIGURES,
    TRAINING_CURVES,
    FigureSpec,
    render_figure,
)
from hep2gan.reports.figures.curves import plot_training_curves
from hep2gan.reports.tables.table import Cell, Table
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.predictions import Predictions

FIGURE_HEADINGS = (
    "Methods side by side",
    "Accuracy and its interval",
    "Calibration",
    "Accuracy by specimen",
    "Where to look first",
)
"""What figures of several methods stand under, in the order of a report."""
SIDE_BY_SIDE, INTERVALS, CALIBRATION, SPECIMENS, WORST = FIGURE_HEADINGS
_CSS_DPI = 96 * 1.3


class Picture(NamedTuple):
    """One figure: `data:` address, size in CSS pixels, words."""

    name: str
    title: str
    caption: str
    alt: str
    source: str
    width: int
    height: int


def make_pictures(run: FinishedRun, predictions: Predictions) -> list[Picture]:
    """Return all figures of a run in the order of a report.

    Files under figures/ are taken where they are whole and no older than what they show;
    the others are plotted, without writing into the run.
    """
    plots: list[tuple[FigureSpec[Any], str, Callable[[], Figure | None]]] = [
        (spec, "predictions.npz", partial(spec.plot, predictions)) for spec in RUN_FIGURES
    ]
    if (log := run.curves) is not None:
        plot = partial(plot_training_curves, log, run.epochs)
        plots.append((TRAINING_CURVES, "metrics.csv", plot))
    return [
        make_picture(spec, content, f" of run {run.name}")
        for spec, shown, plot in plots
        if (content := _content(run, spec.name, shown, plot)) is not None
    ]


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
    """Embed the bytes of a PNG that was written by `render_figure`.

    of: what the figure is of, for those who hear the page; begins with a space.
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
    """What stands under one heading; what is empty is left out.

    points: findings, one a line, with the runs that they are about. alarm: whether it is set apart
    as something that is wrong.
    """

    title: str
    text: str = ""
    points: Sequence[Cell] = ()
    table: Table | None = None
    pictures: Sequence[Picture] = ()
    alarm: bool = False
