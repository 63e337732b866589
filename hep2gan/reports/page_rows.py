"""Table I as the HTML report prints it: runs with links, means, the paper's rows, comparisons."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.reports.methods import Method
from hep2gan.reports.notation import ABSENT, hundredths, mean_sd, points, span
from hep2gan.reports.published import PublishedRow
from hep2gan.reports.runs import Run
from hep2gan.reports.table_1 import LAST, NO_CLASSIFIER, Comparison, Row

COLUMNS = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Dice": "dice",
    "Jaccard": "jaccard",
}
"""Table I's columns, and the two of section III-C, with their names in metrics.json."""


class PageRow(NamedTuple):
    """One row: `kind` is run, mean, paper or comparison; `run` is the run's number, from 1, or 0.

    A comparison has no fields: its words are its name.
    """

    kind: str
    name: str
    run: int
    fields: dict[str, str]
    """Column to percentage, a dash where the method has none."""
    notes: dict[str, str]
    """Column to what stands beside it in small type: the interval."""


def page_rows(rows: Sequence[Row], runs: Sequence[Run]) -> list[PageRow]:
    """Return a row a run, then its method's mean, the paper's row, and how the method compares."""
    printed = []
    for row in rows:
        for result in row.method.results:
            number = next(n for n, run in enumerate(runs, start=1) if run is result.run)
            printed.append(_run_row(result.run, number))
        if len(row.method.results) > 1:
            printed.append(_mean_row(row))
        if (paper := row.method.published) is not None:
            printed.append(_paper_row(paper))
        if row.comparison not in (LAST, NO_CLASSIFIER):
            printed.append(PageRow("comparison", _words(row.comparison), 0, {}, {}))
    return printed


def _run_row(run: Run, number: int) -> PageRow:
    fields = {column: hundredths(run.metrics.get(f"test/{key}")) for column, key in COLUMNS.items()}
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    notes = {}
    if low is not None and high is not None:
        notes["Accuracy"] = f"{hundredths(low)}–{hundredths(high)}"
    return PageRow("run", run.name, number, fields, notes)


def _mean_row(row: Row) -> PageRow:
    """The method over its seeds; the interval is over specimens where they are known."""
    found = {column: row.estimates.get(key) for column, key in COLUMNS.items()}
    fields = {
        column: ABSENT if one is None else mean_sd(one.mean, one.sd)
        for column, one in found.items()
    }
    accuracy = found["Accuracy"]
    notes = {"Accuracy": span(accuracy.specimens or accuracy.cells)} if accuracy else {}
    return PageRow("mean", f"{row.method.title}, {_what(row.method)}", 0, fields, notes)


def _what(method: Method) -> str:
    runs, seeds = len(method.results), len(method.tests)
    if seeds == 1:
        return f"all {runs} runs of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} runs'}"


def _paper_row(paper: PublishedRow) -> PageRow:
    fields = {c: hundredths(paper.metrics.get(f"test/{key}")) for c, key in COLUMNS.items()}
    return PageRow("paper", f"Paper: {paper.name}", 0, fields, {})


def _words(comparison: Comparison | str) -> str:
    if isinstance(comparison, str):
        return f"Against {comparison}"
    return (
        f"Against {comparison.other.title}: {points(comparison.over_cells.estimate)} points of "
        f"accuracy on {comparison.cells:,} same cells ({comparison.only_here} right here alone, "
        f"{comparison.only_there} there alone), {comparison.verdict}"
    )
