"""Figures as they stand in an HTML file: embedded, with size, caption and alt text."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from hep2gan.reports.figures.catalogue import (
    CURVES,
    CURVES_CAPTION,
    CURVES_TITLE,
    DPI,
    RUN_FIGURES,
    render_figure,
)
from hep2gan.reports.figures.curves import curves
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
    found = []
    for drawing in RUN_FIGURES:
        draw = partial(drawing.draw, predictions)
        content = _content(run, drawing.name, "predictions.npz", draw)
        if content is not None:
            found.append(_of(run, drawing.name, drawing.title, drawing.caption, content))
    if (log := run.curves) is not None:
        content = _content(run, CURVES, "metrics.csv", partial(curves, log, run.epochs))
        if content is not None:
            found.append(_of(run, CURVES, CURVES_TITLE, CURVES_CAPTION, content))
    return found


def _content(
    run: FinishedRun, name: str, shown: str, draw: Callable[[], Figure | None]
) -> bytes | None:
    path = run.path / "figures" / f"{name}.png"
    if path.is_file() and path.stat().st_mtime >= (run.path / shown).stat().st_mtime:
        content = path.read_bytes()
        if _whole(content):
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


def _of(run: FinishedRun, name: str, title: str, caption: str, content: bytes) -> Picture:
    return make_picture(name, title, caption, f"{title} of run {run.name}. {caption}", content)


def make_picture(name: str, title: str, caption: str, alt: str, content: bytes) -> Picture:
    """Embed the bytes of a PNG that was rendered by `figures.rendered`."""
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(side * _CSS_DPI / DPI) for side in image.size)
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(name, title, caption, alt, source, width, height)


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
