"""Figures as they stand in an HTML file: embedded, with size, caption and alt text."""

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from hep2gan.reports.figures.curves import curves
from hep2gan.reports.figures.single import (
    CURVES,
    CURVES_CAPTION,
    CURVES_TITLE,
    DPI,
    DRAWINGS,
    rendered,
)
from hep2gan.runs.finished import Run
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


def pictures(run: Run, predictions: Predictions) -> list[Picture]:
    """Return all figures of a run in the order of a report.

    Files under figures/ are taken where they are whole and no older than what they show;
    the others are drawn, without writing into the run.
    """
    found = []
    for drawing in DRAWINGS:
        draw = partial(drawing.draw, predictions)
        content = _content(run, drawing.name, "predictions.npz", draw)
        if content is not None:
            found.append(_of(run, drawing.name, drawing.title, drawing.caption, content))
    if (log := run.curves) is not None:
        content = _content(run, CURVES, "metrics.csv", partial(curves, log, run.epochs))
        if content is not None:
            found.append(_of(run, CURVES, CURVES_TITLE, CURVES_CAPTION, content))
    return found


def _content(run: Run, name: str, shown: str, draw: Callable[[], Figure | None]) -> bytes | None:
    path = run.path / "figures" / f"{name}.png"
    if path.is_file() and path.stat().st_mtime >= (run.path / shown).stat().st_mtime:
        content = path.read_bytes()
        if _whole(content):
            return content
    figure = draw()
    return None if figure is None else rendered(figure)


def _whole(content: bytes) -> bool:
    """Tell whether a PNG decodes to its last row."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _of(run: Run, name: str, title: str, caption: str, content: bytes) -> Picture:
    return picture(name, title, caption, f"{title} of run {run.name}. {caption}", content)


def picture(name: str, title: str, caption: str, alt: str, content: bytes) -> Picture:
    """Embed the bytes of a PNG that was rendered by `figures.rendered`."""
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(side * _CSS_DPI / DPI) for side in image.size)
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(name, title, caption, alt, source, width, height)
