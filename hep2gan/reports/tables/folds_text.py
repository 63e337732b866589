"""The fold summary as Markdown and CSV."""

from collections.abc import Sequence

from hep2gan.reports.tables.estimates import MEASURES
from hep2gan.reports.tables.folds_table import FoldsRow, Vote
from hep2gan.reports.tables.framing import below, identity
from hep2gan.reports.tables.markup import (
    Named,
    TextTable,
    Value,
    code,
    csv_table,
    markdown_table,
    paths,
)
from hep2gan.reports.tables.notation import ABSENT, hundredths, mean_sd, span
from hep2gan.reports.tables.table_1_csv import ends, estimate

_NAMES = ["Method", "Seed", "Split", "Folds"]
NOTE = (
    "Percentages: mean ± standard deviation over folds; below, all folds as one test set with 95 % "
    "BCa bootstrap intervals. A specimen's class is that of the highest mean probability over its "
    "cells, or that of most cells; the intervals of votes are Wilson's. Under a random split a "
    "specimen's cells lie in several folds, and others of them in training: such votes flatter."
)


def folds_markdown(rows: Sequence[FoldsRow]) -> str:
    """Figures over folds, pooled accuracy and votes, and the runs."""
    spread, pooled = spread_table(rows, code), pooled_table(rows, code)
    parts = ["# Cross-validation\n", markdown_table(*spread)]
    parts += ["## All folds as one test set\n", markdown_table(*pooled)]
    runs = {f"{row.method.title} seed {row.seed}": row.method.runs for row in rows}
    return "\n".join([*parts, *below(NOTE, [row.method for row in rows], runs)])


def spread_table(rows: Sequence[FoldsRow], named: Named = str) -> TextTable:
    """Mean and standard deviation over folds."""
    lines = [[*_named(row, named), *_spread(row)] for row in rows]
    return TextTable([*_NAMES, *MEASURES.values()], lines)


def pooled_table(rows: Sequence[FoldsRow], named: Named = str) -> TextTable:
    """All folds as one test set, and votes of specimens."""
    header = [*_NAMES, "Tested on", "Specimens", "Accuracy", "Over cells", "Over specimens"]
    header += ["Votes by probability", "Votes by majority"]
    return TextTable(header, [[*_named(row, named), *_pooled(row)] for row in rows])


def folds_csv(rows: Sequence[FoldsRow]) -> str:
    """A line a method and seed."""
    return csv_table([_line(row) for row in rows])


def _kind(row: FoldsRow) -> str:
    return str(row.method.results[0].run.split_settings.get("kind", "random"))


def _named(row: FoldsRow, named: Named) -> list[str]:
    missing = "" if len(row.folds) == row.of else f" of {row.of}"
    return [named(row.method.title), row.seed, _kind(row), f"{len(row.folds)}{missing}"]


def _spread(row: FoldsRow) -> list[str]:
    return [mean_sd(*row.spread[m]) if m in row.spread else ABSENT for m in MEASURES]


def _pooled(row: FoldsRow) -> list[str]:
    found = row.pooled.get("accuracy")
    cells = row.method.cells
    return [
        row.method.cells_in_words,
        str(cells.specimens or "unknown"),
        hundredths(found.mean if found else None),
        span(found.cells if found else None),
        span(found.specimens if found else None),
        _vote(row.by_probability, row.no_votes),
        _vote(row.by_majority, row.no_votes),
    ]


def _vote(vote: Vote | None, problem: str) -> str:
    if vote is None:
        return problem
    share = hundredths(vote.right / vote.specimens)
    return f"{share} ({vote.right} of {vote.specimens}; {span(vote.interval)})"


def _line(row: FoldsRow) -> dict[str, Value]:
    cells = row.method.cells
    line = identity(row.method) | {"seed": row.seed, "split": _kind(row)}
    line |= {"folds": len(row.folds), "of_folds": row.of, "cells": len(cells)}
    line["specimens"] = cells.specimens or None
    for measure in MEASURES:
        mean, sd = row.spread.get(measure, (None, None))
        line |= {f"{measure}_fold_mean": mean, f"{measure}_fold_sd": sd}
        pooled = estimate(f"{measure}_pooled", row.pooled.get(measure))
        line |= {name: value for name, value in pooled.items() if not name.endswith("_sd")}
    for name, vote in (("probability", row.by_probability), ("majority", row.by_majority)):
        line[f"votes_{name}_right"] = vote and vote.right
        line[f"votes_{name}_accuracy"] = vote and vote.right / vote.specimens
        line |= ends(f"votes_{name}", vote and vote.interval)
    return line | {"no_votes": row.no_votes or None, "run_paths": paths(row.method.runs)}
