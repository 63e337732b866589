"""What several runs say together, as the HTML page prints it: each function one heading."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hep2gan.reports.naming import short_name
from hep2gan.reports.page.elements import PagePart
from hep2gan.reports.page.run_section import configuration_differences, leaks_of
from hep2gan.reports.published import PublishedRow
from hep2gan.reports.results import MethodResults
from hep2gan.reports.study import Study
from hep2gan.reports.tables.estimates import Estimate
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Part,
    Row,
    Table,
    format_interval,
    format_points,
    hundredths,
    mean_sd,
)
from hep2gan.reports.tables.table_1 import NOTES, Table1Row
from hep2gan.runs.finished import FinishedRun
from hep2gan.statistics.intervals import Interval

_RESULTS = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Dice": "dice",
    "Jaccard": "jaccard",
}
"""Table I's columns, and the two of section III-C, with their names in metrics.json."""
_TOLD_BY_NAMES = ("study", "name", "method", "seed", "split.fold")
_FEW = 4


def leakage_parts(runs: Sequence[FinishedRun]) -> list[PagePart]:
    """Return what the runs' splits share between training and test, where they share anything."""
    paths: dict[str, list[Path]] = {}
    for run in runs:
        for sentence in leaks_of(run):
            paths.setdefault(sentence, []).append(run.path)
    several = len(runs) > 1
    points = [Cell(text=text, runs=own if several else ()) for text, own in paths.items()]
    title = "Leakage between training and test"
    return [PagePart(title, points=points, alarm=True)] if points else []


def configuration_part(runs: Sequence[FinishedRun]) -> PagePart:
    """Return the settings that the runs do not agree on, beside those that their names tell."""
    title = "What was run"
    differences = configuration_differences([run.config for run in runs])
    rows = [
        row
        for key, values in differences.items()
        if key not in _TOLD_BY_NAMES
        for row in _difference_rows(key, values, runs)
    ]
    if not rows:
        words = "The configurations are equal, apart from what the names of the runs tell."
        return PagePart(title, words)
    caption = (
        "The settings that differ; the others stand in each run’s configuration. "
        "A method’s name stands for all its runs"
    )
    return PagePart(title, table=Table(title, rows, [Part(caption)], words=True))


def _difference_rows(
    key: str, values: Mapping[str, Sequence[int]], runs: Sequence[FinishedRun]
) -> list[Row]:
    """Return a row a value; that of most runs, where there are many, comes last as the rule."""
    rows = []
    for value, places in sorted(values.items(), key=lambda pair: len(pair[1]) > len(runs) / 2):
        which = Cell("Runs", runs=[runs[place].path for place in places])
        if len(runs) > _FEW and len(places) > len(runs) / 2:
            which = Cell("Runs", "all others")
        rows.append(Row([Cell("Setting", key)], [[Cell("Value", value), which]]))
    return rows


def results_part(study: Study) -> PagePart:
    """Return the paper's Table I of the runs, beside the paper's own figures."""
    caption = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9 : 1 split"
    )
    if any(run.is_synthetic for run in study.runs):
        caption += "; they cannot be compared with runs on synthetic cells"
    rows = [row for one in study.table_1 for row in _method_rows(one, study.runs)]
    return PagePart("Results", table=Table("Results", rows, [Part(caption)], notes=NOTES))


def _method_rows(row: Table1Row, runs: Sequence[FinishedRun]) -> list[Row]:
    """Return a row a run, then its method's mean, the paper's row, and how the method compares.

    Folds have no rows of their own: they are one test set in parts.
    """
    own = [result.run for result in row.method.results]
    folded = any(run.fold is not None for run in own)
    rows = [] if folded else [_run_row(run, short_name(run, runs)) for run in own]
    if folded or len(own) > 1:
        rows.append(_mean_row(row, folded=folded))
    if (paper := row.method.published) is not None:
        rows.append(_paper_row(paper))
    if row.compared:
        rows.append(_comparison_row(row))
    return rows


def _run_row(run: FinishedRun, name: str) -> Row:
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    ends = None if low is None or high is None else Interval(low, high)
    cells = [
        Cell(heading, hundredths(run.metrics.get(f"test/{key}")), runs=[run.path])
        for heading, key in _RESULTS.items()
    ]
    cells[0] = cells[0]._replace(note=format_interval(ends) if ends else "")
    return Row([Cell("Run", name, runs=[run.path])], [cells], kind="run")


def _mean_row(row: Table1Row, *, folded: bool) -> Row:
    """The method over its seeds; the interval is over specimens where they are known."""

    def cell(heading: str, found: Estimate | None) -> Cell:
        note = format_interval(found.interval) if found and heading == "Accuracy" else ""
        return Cell(heading, mean_sd(found.mean, found.sd) if found else ABSENT, note=note)

    name = f"{row.method.title}, {_what(row.method, folded=folded)}"
    cells = [cell(heading, row.estimates.get(key)) for heading, key in _RESULTS.items()]
    return Row([Cell("Run", name, runs=row.method.runs)], [cells], kind="mean")


def _what(method: MethodResults, *, folded: bool) -> str:
    runs, seeds = len(method.results), len(method.tests)
    word = ("folds" if runs > 1 else "fold") if folded else "runs"
    if seeds == 1:
        return f"{'all ' if word == 'runs' else ''}{runs} {word} of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} {word}'}"


def _paper_row(paper: PublishedRow) -> Row:
    cells = [
        Cell(heading, hundredths(paper.metrics.get(f"test/{key}")))
        for heading, key in _RESULTS.items()
    ]
    return Row([Cell("Run", f"Paper: {paper.name}")], [cells], kind="paper")


def _comparison_row(row: Table1Row) -> Row:
    one = row.comparison
    if isinstance(one, str):
        return Row([Cell("Run", f"Against {one}")], kind="comparison")
    text = (
        f"Against {one.other.title}: {format_points(one.over_cells.estimate)} points of accuracy, "
        f"{format_points(one.mean_class_accuracy.estimate)} of mean class accuracy, on "
        f"{one.cells:,} same cells ({one.only_here} right here alone, {one.only_there} there "
        f"alone), {one.verdict}"
    )
    runs = [*row.method.runs, *one.other.runs]
    return Row([Cell("Run", text, runs=runs)], kind="comparison")


def table_parts(tables: Mapping[str, Table]) -> list[PagePart]:
    """Return a part a table that a page shows; Table I stands there run by run."""
    return [
        PagePart(
            table.title,
            table.text,
            [Cell(text=f"{name}: {words}") for name, words in table.findings],
            table,
        )
        for table in tables.values()
        if "html" in table.outputs
    ]
