"""Several runs beside each other, after the paper's Table I."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from hep2gan.reports.published import TABLE_I
from hep2gan.reports.runs import Run

COLUMNS = {
    "Accuracy": "test/accuracy",
    "Precision": "test/precision",
    "Recall": "test/recall",
    "F1": "test/f1",
    "Dice": "test/dice",
    "Jaccard": "test/jaccard",
}
"""Table I's columns, and the two of section III-C, with their keys in metrics.json."""


class TableRow(NamedTuple):
    """One row: `kind` is run, mean or paper; `run` is the run's number, from 1, or 0."""

    kind: str
    name: str
    run: int
    fields: dict[str, str]
    """Column to percentage, a dash where the method has none."""
    notes: dict[str, str]
    """Column to what stands beside it in small type: the interval."""


def table(runs: Sequence[Run]) -> list[TableRow]:
    """Return a row a run, methods kept together in the order given.

    Below the runs of one method and study come their mean ± standard deviation, where there are
    several seeds, and the row that the paper prints for the method.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, run in enumerate(runs, start=1):
        groups.setdefault((run.study, run.method), []).append(number)
    rows = []
    for (study, method), numbers in groups.items():
        members = [runs[number - 1] for number in numbers]
        rows += [_run_row(run, number) for run, number in zip(members, numbers, strict=True)]
        if len(members) > 1:
            rows.append(_mean_row(f"{study}/{method}", members))
        if (printed := TABLE_I.get(method)) is not None:
            fields = {column: _field(printed.metrics.get(key)) for column, key in COLUMNS.items()}
            rows.append(TableRow("paper", f"Paper: {printed.name}", 0, fields, {}))
    return rows


def _run_row(run: Run, number: int) -> TableRow:
    fields = {column: _field(run.metrics.get(key)) for column, key in COLUMNS.items()}
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    notes = {}
    if low is not None and high is not None:
        notes["Accuracy"] = f"{100 * low:.2f}–{100 * high:.2f}"
    return TableRow("run", run.name, number, fields, notes)


def _mean_row(name: str, members: Sequence[Run]) -> TableRow:
    """Return mean ± sample standard deviation over seeds."""
    fields = {}
    for column, key in COLUMNS.items():
        values = [100 * run.metrics[key] for run in members if key in run.metrics]
        complete = len(values) == len(members)
        fields[column] = f"{fmean(values):.2f} ± {stdev(values):.2f}" if complete else "–"
    return TableRow("mean", f"{name}, mean ± sd of {len(members)} runs", 0, fields, {})


def _field(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.2f}"
