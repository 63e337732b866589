"""What can be said of runs together: what leaks, what differs, Table I."""

from collections.abc import Sequence

from hep2gan.reports.comparison import COLUMNS, TableRow, table
from hep2gan.reports.configuration import Difference, differences
from hep2gan.reports.evidence import Cell, Evidence, HtmlRow, HtmlTable, Part
from hep2gan.reports.findings import Findings, shared
from hep2gan.reports.runs import Run

_TOLD_BY_NAMES = ("study", "name", "method", "seed")


def leakage(found: Sequence[Findings]) -> list[Evidence]:
    """Return what the runs' splits share between training and test, where they share anything."""
    leaks = shared(found)
    several = len(found) > 1
    points = [
        Cell(sentence, [place + 1 for place in places] if several else ())
        for sentence, places in leaks.items()
    ]
    title = "Leakage between training and test"
    return [Evidence(Part.LEAKAGE, title, points=points)] if points else []


def configuration(runs: Sequence[Run]) -> Evidence:
    """Return the settings that the runs do not agree on, beside those that their names tell."""
    found = [
        one for one in differences([run.config for run in runs]) if one.key not in _TOLD_BY_NAMES
    ]
    title = "What was run"
    if not found:
        words = "The configurations are equal, apart from what the names of the runs tell."
        return Evidence(Part.CONFIGURATION, title, text=[words])
    rows = [row for one in found for row in _difference_rows(one)]
    note = "The settings that differ; all others are equal, and stand in each run’s configuration."
    return Evidence(
        Part.CONFIGURATION,
        title,
        table=HtmlTable("Setting", ["Value", "Runs"], rows, note=note, words=True),
    )


def results(runs: Sequence[Run]) -> Evidence:
    """Return the runs' numbers as in the paper's Table I, beside the paper's own."""
    note = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9 : 1 split"
    )
    drawn = "; they cannot be compared with runs on drawn cells"
    note += (drawn if any(run.drawn for run in runs) else "") + "."
    rows = [_result_row(row) for row in table(runs)]
    return Evidence(Part.RESULTS, "Results", table=HtmlTable("Run", list(COLUMNS), rows, note=note))


def _difference_rows(one: Difference) -> list[HtmlRow]:
    return [
        HtmlRow(Cell(one.key), [Cell(value), Cell("", [place + 1 for place in places])])
        for value, places in one.values
    ]


def _result_row(row: TableRow) -> HtmlRow:
    own = (row.run,) if row.run else ()
    cells = [Cell(row.fields[column], own, row.notes.get(column, "")) for column in COLUMNS]
    return HtmlRow(Cell(row.name, own), cells, row.kind)
