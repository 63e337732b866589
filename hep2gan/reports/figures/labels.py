"""Text in figures: names cut to the room that they have, and still told apart."""

import math
import re
import textwrap
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from hep2gan.data.patterns import abbreviation
from hep2gan.reports.figures.style import SMALL

_TEXT = TextToPath()


def plain_text(text: str) -> str:
    """Return `text` as matplotlib shows it literally: dollar signs start no formula."""
    return text.replace("$", r"\$")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters, the last one an ellipsis."""
    return plain_text(_cut(text, limit))


def fit_text(text: str, width: float, size: float) -> str:
    """Cut `text` to at most `width` inches at `size` points, its last character an ellipsis."""
    font = FontProperties(size=size)
    limit = len(text)
    while limit > 1 and _width(_cut(text, limit), font) > 72 * width:
        limit -= 1
    return shorten(text, limit)


def short_names(classes: Sequence[str], width: float = math.inf, *, limit: int = 12) -> list[str]:
    """Abbreviate class names for axes; longer where two abbreviations would be the same.

    Words that all names begin with go before a name's end does; numbers come last. Cut to the
    width, names still differ.

    Args:
        classes: names of all classes.
        width: the most that a name may take, in inches at SMALL points.
        limit: the most characters of a name that is not abbreviated.
    """
    ways = [[abbreviation(name) for name in classes], *_ways_to_cut(classes, limit)]
    return _first_distinct([[fit_text(name, width, SMALL) for name in names] for names in ways])


def legend_names(classes: Sequence[str], limit: int) -> list[str]:
    """Cut class names for legends to `limit` characters; they still differ, as in `short_names`."""
    return [plain_text(name) for name in _first_distinct(_ways_to_cut(classes, limit))]


def wrap_headings(names: Sequence[str], width: int) -> list[str]:
    """Break names into at most two lines of `width` characters, to stand side by side.

    What is longer is cut; names that would then be the same are numbered first.
    """
    headings = [_two_lines(name, width) for name in names]
    if len(set(headings)) < len(headings):
        numbered = (f"{number} {name}" for number, name in enumerate(names, start=1))
        headings = [_two_lines(name, width) for name in numbered]
    return [plain_text(text) for text in headings]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _width(text: str, font: FontProperties) -> float:
    """Return the width in points."""
    return float(_TEXT.get_text_width_height_descent(text, font, ismath=False)[0])


def _ways_to_cut(classes: Sequence[str], limit: int) -> list[list[str]]:
    """As they are, without the words that all begin with, numbered; each cut to `limit`."""
    start = _common_start(classes)
    return [
        [_cut(name, limit) for name in classes],
        [_cut(name[start:], limit) for name in classes],
        [_cut(f"{number} {name}", limit) for number, name in enumerate(classes)],
    ]


def _first_distinct(ways: Sequence[list[str]]) -> list[str]:
    """Return the first way of naming in which all names differ, else the last."""
    return next((names for names in ways if len(set(names)) == len(names)), ways[-1])


def _common_start(names: Sequence[str]) -> int:
    """Count characters of the whole words that all begin with: 6 for plate_a, plate_b."""
    columns = list(zip(*names, strict=False))
    alike = next((n for n, column in enumerate(columns) if len(set(column)) > 1), len(columns))
    start = max(names[0].rfind(gap, 0, alike) + 1 for gap in " _-") if names else 0
    return start if all(len(name) > start for name in names) else 0


def _two_lines(text: str, width: int) -> str:
    text = " ".join(re.sub(r",(?=\S)", ", ", text).split())  # the names of sweeps have no spaces
    first, *more = textwrap.wrap(text, width) or [""]
    return f"{first}\n{_cut(text[len(first) :].strip(), width)}" if more else first
