"""Figures as they stand in an HTML file: embedded, with size, caption and alt text."""

import base64
import io
from collections.abc import Callable, Sequence
from enum import IntEnum
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
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.predictions import Predictions

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
    the others are drawn, without writing into the run.
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


class HtmlCell(NamedTuple):
    """Words or a number, and the numbers, from 1, of the runs that they are about.

    What is about one run leads to it; what is about several is followed by links to them, in a
    table to every one.
    """

    text: str
    runs: Sequence[int] = ()
    note: str = ""
    """What stands beside the text in small type: an interval, a p-value."""


class HtmlRow(NamedTuple):
    """One row: what heads it, and a cell for each column; without cells the head spans them."""

    head: HtmlCell
    cells: Sequence[HtmlCell]
    kind: str = ""
    """How it looks: empty, `mean` (shaded), `paper` (in italics), `comparison` (small)."""


class HtmlTable(NamedTuple):
    """A table of any kind: Table I, leakage, priors, folds."""

    corner: str
    """What heads the column of the rows' heads."""
    columns: Sequence[str]
    rows: Sequence[HtmlRow]
    note: str = ""
    """How to read it, in small type above."""
    notes: Sequence[str] = ()
    """What else must be said of it, in small type below."""
    words: bool = False
    """True where cells hold words, which are set to the left; numbers are set to the right."""


class PartName(IntEnum):
    """The order in which a report is read."""

    LEAKAGE = 1
    CONFIGURATION = 2
    RESULTS = 3
    TABLES = 4
    FIGURES = 5
    INTERVALS = 6
    CALIBRATION = 7
    SPECIMENS = 8
    WORST = 9


class PagePart(NamedTuple):
    """What stands under one heading; what is empty is left out."""

    part: PartName
    title: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[HtmlCell] = ()
    """Findings, one a line, with the runs that they are about."""
    tables: Sequence[HtmlTable] = ()
    folded: str = ""
    """What the tables are folded into; empty shows them."""
    pictures: Sequence[Picture] = ()


def order_parts(parts: Sequence[PagePart]) -> list[PagePart]:
    """Sort by part; what is of the same part stays as given."""
    return sorted(parts, key=lambda one: one.part)
