"""What a report shows before the single runs: parts of sentences, tables and pictures."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from hep2gan.reports.page.pictures import Picture


class Cell(NamedTuple):
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

    head: Cell
    cells: Sequence[Cell]
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


class Part(IntEnum):
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

    part: Part
    title: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[Cell] = ()
    """Findings, one a line, with the runs that they are about."""
    tables: Sequence[HtmlTable] = ()
    folded: str = ""
    """What the tables are folded into; empty shows them."""
    pictures: Sequence[Picture] = ()


def in_order(parts: Sequence[PagePart]) -> list[PagePart]:
    """Sort by part; what is of the same part stays as given."""
    return sorted(parts, key=lambda one: one.part)
