"""Cross-validation in one line: spread over folds, pooled accuracy, votes of specimens."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, RunResult, TestCells, pool
from hep2gan.reports.tables.estimates import ESTIMATED_MEASURES, OVERLAPS, Estimate, make_estimates
from hep2gan.reports.tables.table import (
    ABSENT,
    NamedRuns,
    TextTable,
    Value,
    csv_table,
    format_interval,
    hundredths,
    inline_code,
    markdown_table,
    mean_sd,
    row_identity,
    rows_below,
    run_paths,
)
from hep2gan.reports.tables.table_1 import estimate_columns, interval_ends
from hep2gan.statistics.confusion import MACRO_SCORES, cell_confusions, macro_scores
from hep2gan.statistics.intervals import Interval, wilson
from hep2gan.statistics.voting import majority_votes


class Vote(NamedTuple):
    """Specimens named right of all, and Wilson's 95 % interval of their share."""

    right: int
    specimens: int
    interval: Interval


class FoldsRow(NamedTuple):
    """The folds of one method and seed.

    by_fold: measure to its values, fold by fold. pooled: all their cells as one test set. by
    probability, by majority: votes of specimens, or None with the reason in `no_votes`.
    """

    method: MethodResults
    seed: str
    folds: tuple[int, ...]
    of: int
    by_fold: dict[str, list[float]]
    pooled: dict[str, Estimate]
    by_probability: Vote | None
    by_majority: Vote | None
    no_votes: str

    @property
    def spread(self) -> dict[str, tuple[float, float | None]]:
        """Mean and sample standard deviation over folds."""
        several = len(self.folds) > 1
        return {m: (fmean(v), stdev(v) if several else None) for m, v in self.by_fold.items()}


def folds_rows(found: Sequence[MethodResults]) -> list[FoldsRow]:
    """Return a row a method and seed of those that were run with `split.folds`."""
    rows = []
    for method in found:
        for seed in method.tests:
            own = {r.run.fold: r for r in method.results if r.run.seed == seed}
            results = [own[fold] for fold in sorted(f for f in own if f is not None)]
            if results:
                rows.append(_row(method, seed, results))
    return rows


def _row(method: MethodResults, seed: str, results: Sequence[RunResult]) -> FoldsRow:
    cells = pool([result.cells for result in results])
    figures = [_figures(result.cells) for result in results]
    by_probability, by_majority, problem = _votes(cells)
    return FoldsRow(
        replace(method, results=tuple(results)),
        seed,
        tuple(result.run.fold or 0 for result in results),
        int(results[0].run.split_settings["folds"]),
        {
            measure: [one[measure] for one in figures]
            for measure in ESTIMATED_MEASURES
            if all(measure in one for one in figures)
        },
        make_estimates([cells]),
        by_probability,
        by_majority,
        problem,
    )


def _figures(cells: TestCells) -> dict[str, float]:
    found: dict[str, float] = {}
    if cells.predicted is not None:
        each = cell_confusions(cells.label, cells.predicted, len(cells.classes))
        found = dict(zip(MACRO_SCORES, map(float, macro_scores(each.sum(axis=0))), strict=True))
    for measure in OVERLAPS:
        if (values := getattr(cells, measure)) is not None:
            found[measure] = float(np.mean(values))
    return found


def _votes(cells: TestCells) -> tuple[Vote | None, Vote | None, str]:
    if cells.probabilities is None:
        return None, None, "no classifier"
    try:
        found = majority_votes(cells.specimen, cells.label, cells.probabilities)
    except Hep2ganError as error:
        return None, None, error.fact
    first, second = (
        _vote(int((guess == found.label).sum()), len(found.label))
        for guess in (found.by_probability, found.by_majority)
    )
    return first, second, ""


def _vote(right: int, specimens: int) -> Vote:
    return Vote(right, specimens, wilson(right, specimens))


_NAMES = ["Method", "Seed", "Split", "Folds"]
NOTE = (
    "Percentages: mean ± standard deviation over folds; below, all folds as one test set with 95 % "
    "BCa bootstrap intervals. A specimen's class is that of the highest mean probability over its "
    "cells, or that of most cells; the intervals of votes are Wilson's. Under a random split a "
    "specimen's cells lie in several folds, and others of them in training: such votes flatter."
)


def folds_markdown(rows: Sequence[FoldsRow]) -> str:
    """Figures over folds, pooled accuracy and votes, and the runs."""
    spread, pooled = spread_table(rows, inline_code), pooled_table(rows, inline_code)
    parts = ["# Cross-validation\n", markdown_table(*spread)]
    parts += ["## All folds as one test set\n", markdown_table(*pooled)]
    runs = {f"{row.method.title} seed {row.seed}": row.method.runs for row in rows}
    return "\n".join([*parts, *rows_below(NOTE, [row.method for row in rows], runs)])


def spread_table(rows: Sequence[FoldsRow], named: NamedRuns = str) -> TextTable:
    """Mean and standard deviation over folds."""
    lines = [[*_named(row, named), *_spread(row)] for row in rows]
    return TextTable([*_NAMES, *ESTIMATED_MEASURES.values()], lines)


def pooled_table(rows: Sequence[FoldsRow], named: NamedRuns = str) -> TextTable:
    """All folds as one test set, and votes of specimens."""
    header = [*_NAMES, "Tested on", "Specimens", "Accuracy", "Over cells", "Over specimens"]
    header += ["Votes by probability", "Votes by majority"]
    return TextTable(header, [[*_named(row, named), *_pooled(row)] for row in rows])


def folds_csv(rows: Sequence[FoldsRow]) -> str:
    """A line a method and seed."""
    return csv_table([_line(row) for row in rows])


def _kind(row: FoldsRow) -> str:
    return str(row.method.results[0].run.split_settings.get("kind", "random"))


def _named(row: FoldsRow, named: NamedRuns) -> list[str]:
    missing = "" if len(row.folds) == row.of else f" of {row.of}"
    return [named(row.method.title), row.seed, _kind(row), f"{len(row.folds)}{missing}"]


def _spread(row: FoldsRow) -> list[str]:
    return [mean_sd(*row.spread[m]) if m in row.spread else ABSENT for m in ESTIMATED_MEASURES]


def _pooled(row: FoldsRow) -> list[str]:
    found = row.pooled.get("accuracy")
    cells = row.method.cells
    return [
        row.method.cells_in_words,
        str(cells.specimens or "unknown"),
        hundredths(found.mean if found else None),
        format_interval(found.cells if found else None),
        format_interval(found.specimens if found else None),
        _vote_text(row.by_probability, row.no_votes),
        _vote_text(row.by_majority, row.no_votes),
    ]


def _vote_text(vote: Vote | None, problem: str) -> str:
    if vote is None:
        return problem
    share = hundredths(vote.right / vote.specimens)
    return f"{share} ({vote.right} of {vote.specimens}; {format_interval(vote.interval)})"


def _line(row: FoldsRow) -> dict[str, Value]:
    cells = row.method.cells
    line = row_identity(row.method) | {"seed": row.seed, "split": _kind(row)}
    line |= {"folds": len(row.folds), "of_folds": row.of, "cells": len(cells)}
    line["specimens"] = cells.specimens or None
    for measure in ESTIMATED_MEASURES:
        mean, sd = row.spread.get(measure, (None, None))
        line |= {f"{measure}_fold_mean": mean, f"{measure}_fold_sd": sd}
        pooled = estimate_columns(f"{measure}_pooled", row.pooled.get(measure))
        line |= {name: value for name, value in pooled.items() if not name.endswith("_sd")}
    for name, vote in (("probability", row.by_probability), ("majority", row.by_majority)):
        line[f"votes_{name}_right"] = vote and vote.right
        line[f"votes_{name}_accuracy"] = vote and vote.right / vote.specimens
        line |= interval_ends(f"votes_{name}", vote and vote.interval)
    return line | {"no_votes": row.no_votes or None, "run_paths": run_paths(row.method.runs)}
