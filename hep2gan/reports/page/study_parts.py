"""What can be said of runs together: what leaks, what differs, Table I."""

from collections.abc import Sequence

from hep2gan.reports.page.configuration import Difference, differences
from hep2gan.reports.page.findings import Findings, shared
from hep2gan.reports.page.parts import Cell, HtmlRow, HtmlTable, PagePart, Part
from hep2gan.reports.page.rows import COLUMNS, page_rows
from hep2gan.reports.study import Study
from hep2gan.reports.tables.table_1_text import NOTES
from hep2gan.runs.finished import Run

_TOLD_BY_NAMES = ("study", "name", "method", "seed", "split.fold")
_FEW = 4


def leakage(found: Sequence[Findings]) -> list[PagePart]:
    """Return what the runs' splits share between training and test, where they share anything."""
    leaks = shared(found)
    several = len(found) > 1
    points = [
        Cell(sentence, [place + 1 for place in places] if several else ())
        for sentence, places in leaks.items()
    ]
    title = "Leakage between training and test"
    return [PagePart(Part.LEAKAGE, title, points=points)] if points else []


def configuration(runs: Sequence[Run]) -> PagePart:
    """Return the settings that the runs do not agree on, beside those that their names tell."""
    found = [
        one for one in differences([run.config for run in runs]) if one.key not in _TOLD_BY_NAMES
    ]
    title = "What was run"
    if not found:
        words = "The configurations are equal, apart from what the names of the runs tell."
        return PagePart(Part.CONFIGURATION, title, text=[words])
    rows = [row for one in found for row in _difference_rows(one, len(runs))]
    note = (
        "The settings that differ; the others stand in each run’s configuration. "
        "A method’s name stands for all its runs."
    )
    return PagePart(
        Part.CONFIGURATION,
        title,
        tables=[HtmlTable("Setting", ["Value", "Runs"], rows, note=note, words=True)],
    )


def results(study: Study) -> PagePart:
    """Return the paper's Table I of the runs, beside the paper's own figures."""
    note = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9 : 1 split"
    )
    drawn = "; they cannot be compared with runs on drawn cells"
    note += (drawn if any(run.drawn for run in study.runs) else "") + "."
    rows = page_rows(study.tables.table_1, study.runs)
    table = HtmlTable("Run", list(COLUMNS), rows, note, NOTES)
    return PagePart(Part.RESULTS, "Results", tables=[table])


def _difference_rows(one: Difference, total: int) -> list[HtmlRow]:
    """Return a row a value; that of most runs, where there are many, comes last as the rule."""
    rows = []
    for value, places in sorted(one.values, key=lambda pair: len(pair[1]) > total / 2):
        rule = total > _FEW and len(places) > total / 2
        which = Cell("all others") if rule else Cell("", [place + 1 for place in places])
        rows.append(HtmlRow(Cell(one.key), [Cell(value), which]))
    return rows
