"""Table I as the HTML report prints it: runs with links, means, the paper's rows, comparisons."""

from collections.abc import Sequence

from hep2gan.reports.naming import numbers_of, short_name
from hep2gan.reports.page.parts import Cell, HtmlRow
from hep2gan.reports.published import PublishedRow
from hep2gan.reports.results import Method
from hep2gan.reports.tables.notation import ABSENT, hundredths, mean_sd, points, span
from hep2gan.reports.tables.table_1 import Comparison, Row
from hep2gan.runs.finished import Run

COLUMNS = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Dice": "dice",
    "Jaccard": "jaccard",
}
"""Table I's columns, and the two of section III-C, with their names in metrics.json."""


def page_rows(rows: Sequence[Row], runs: Sequence[Run]) -> list[HtmlRow]:
    """Return a row a run, then its method's mean, the paper's row, and how the method compares.

    Folds have no rows of their own: they are one test set in parts.
    """
    printed = []
    for row in rows:
        numbers = numbers_of(row.method, runs)
        if not _folded(row.method):
            for number in numbers:
                run = runs[number - 1]
                printed.append(_run_row(run, number, short_name(run, runs)))
        if len(numbers) > 1 or _folded(row.method):
            printed.append(_mean_row(row, numbers))
        if (paper := row.method.published) is not None:
            printed.append(_paper_row(paper))
        if row.compared:
            own = Cell(_words(row.comparison, runs), _compared(row, runs))
            printed.append(HtmlRow(own, (), "comparison"))
    return printed


def _compared(row: Row, runs: Sequence[Run]) -> list[int]:
    """The numbers of the runs that a comparison is of."""
    if isinstance(row.comparison, str):
        return []
    return [*numbers_of(row.method, runs), *numbers_of(row.comparison.other, runs)]


def _folded(method: Method) -> bool:
    return any(result.run.fold is not None for result in method.results)


def _run_row(run: Run, number: int, name: str) -> HtmlRow:
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    known = low is not None and high is not None
    cells = [
        Cell(
            hundredths(run.metrics.get(f"test/{key}")),
            (number,),
            f"{hundredths(low)}–{hundredths(high)}" if key == "accuracy" and known else "",
        )
        for key in COLUMNS.values()
    ]
    return HtmlRow(Cell(name, (number,)), cells, "run")


def _mean_row(row: Row, numbers: Sequence[int]) -> HtmlRow:
    """The method over its seeds; the interval is over specimens where they are known."""
    cells = []
    for key in COLUMNS.values():
        found = row.estimates.get(key)
        note = span(found.interval) if found and key == "accuracy" else ""
        cells.append(Cell(mean_sd(found.mean, found.sd) if found else ABSENT, (), note))
    name = f"{row.method.title}, {_what(row.method)}"
    return HtmlRow(Cell(name, numbers), cells, "mean")


def _what(method: Method) -> str:
    runs, seeds = len(method.results), len(method.tests)
    word = ("folds" if runs > 1 else "fold") if _folded(method) else "runs"
    if seeds == 1:
        return f"{'all ' if word == 'runs' else ''}{runs} {word} of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} {word}'}"


def _paper_row(paper: PublishedRow) -> HtmlRow:
    cells = [Cell(hundredths(paper.metrics.get(f"test/{key}"))) for key in COLUMNS.values()]
    return HtmlRow(Cell(f"Paper: {paper.name}"), cells, "paper")


def _words(comparison: Comparison | str, runs: Sequence[Run]) -> str:
    if isinstance(comparison, str):
        return f"Against {comparison}"
    return (
        f"Against {comparison.other.title}: "
        f"{points(comparison.over_cells.estimate)} points of accuracy, "
        f"{points(comparison.mean_class_accuracy.estimate)} of mean class accuracy, on "
        f"{comparison.cells:,} same cells ({comparison.only_here} right here alone, "
        f"{comparison.only_there} there alone), {comparison.verdict}"
    )
