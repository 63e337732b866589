"""Results of cross-validation: spread over folds, pooled accuracy, votes of specimens."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, RunResult, TestCells
from hep2gan.reports.study import Study
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    ESTIMATED_MEASURES,
    OVERLAPS,
    Estimate,
    estimate_values,
    intervals_in_words,
    macro_measures,
    make_estimates,
    mean_and_sd,
)
from hep2gan.reports.tables.table import (
    Cell,
    Part,
    Row,
    Table,
    Value,
    format_interval,
    hundredths,
    interval_values,
    mean_sd,
    method_cell,
    value_cell,
)
from hep2gan.statistics.classification import majority_votes
from hep2gan.statistics.significance import wilson

Bools = npt.NDArray[np.bool_]

_NOTE = (
    "Percentages: mean ± standard deviation over folds; below, all folds as one test set with 95 "
    "% intervals: over specimens (or blocks) t intervals on the logit scale, over cells Wilson's, "
    "which are too narrow. A specimen's class is that of the highest mean probability over its "
    "cells, or that of most cells; the intervals of votes are Wilson's. Under a random split, "
    "other cells of a specimen are in training, and the votes are too optimistic."
)


@report_table("folds", order=4)
def folds_table(study: Study) -> Table | None:
    """Build the table with a row for each method and seed that was run with `split.folds`.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without such a method.
    """
    rows = []
    for method in study.methods:
        for seed in method.tests:
            by_fold = {one.run.fold: one for one in method.results if one.run.seed == seed}
            folds = sorted(fold for fold in by_fold if fold is not None)
            if folds:
                rows.append(_row(method, seed, [by_fold[fold] for fold in folds]))
    parts = (Part("Over the folds"), Part("All folds as one test set"))
    return Table("Cross-validation", rows, parts, notes=(_NOTE,)) if rows else None


def _row(method: MethodResults, seed: str, results: Sequence[RunResult]) -> Row:
    split = results[0].run.split_settings
    kind, of = str(split.get("kind", "random")), int(split["folds"])
    done = f"{len(results)}" if len(results) == of else f"{len(results)} of {of}"
    own = replace(method, results=tuple(results))
    head = [
        method_cell(own),
        value_cell("Seed", "seed", seed),
        value_cell("Split", "split", kind),
        Cell("Folds", done, {"folds": len(results), "of_folds": of}),
        Cell(values={"cells": len(own.cells), "specimens": own.cells.specimens or None}),
    ]
    pooled = make_estimates([own.cells])
    return Row(
        head,
        [_spread(results, pooled), _pooled(own, pooled.get("accuracy"))],
        label=f"{method.title} seed {seed}",
    )


def _spread(results: Sequence[RunResult], pooled: Mapping[str, Estimate]) -> list[Cell]:
    """Print each measure over the folds; the CSV file also has those of all folds together."""
    by_fold = [_measures(result.cells) for result in results]
    found = []
    for measure, heading in ESTIMATED_MEASURES.items():
        values = [one[measure] for one in by_fold if measure in one]
        mean, sd = mean_and_sd(values if len(values) == len(by_fold) else [])
        columns: dict[str, Value] = {f"{measure}_fold_mean": mean, f"{measure}_fold_sd": sd}
        columns |= estimate_values(f"{measure}_pooled", pooled.get(measure))
        del columns[f"{measure}_pooled_sd"]  # one test set has none
        found.append(Cell(heading, mean_sd(mean, sd), columns))
    return found


def _measures(cells: TestCells) -> dict[str, float]:
    found = macro_measures(cells)
    for measure in OVERLAPS:
        if (values := getattr(cells, measure)) is not None:
            found[measure] = float(np.mean(values))
    return found


def _pooled(method: MethodResults, accuracy: Estimate | None) -> list[Cell]:
    votes, problem = _votes(method.cells)
    over_cells, over_specimens = intervals_in_words(accuracy)
    return [
        Cell("Tested on", method.cells_in_words),
        Cell("Specimens", method.cells.units_in_words),
        Cell("Accuracy", hundredths(accuracy and accuracy.mean)),
        Cell("Over cells", over_cells),
        Cell("Over specimens", over_specimens),
        *(_vote(name, votes.get(name), problem) for name in ("probability", "majority")),
        Cell(values={"no_votes": problem or None}),
    ]


def _votes(cells: TestCells) -> tuple[dict[str, Bools], str]:
    """Return which specimens each kind of vote classifies correctly, or why there are no votes."""
    if cells.probabilities is None:
        return {}, "no classifier"
    try:
        found = majority_votes(cells.specimen, cells.label, cells.probabilities)
    except Hep2ganError as error:
        return {}, error.fact
    right = {"probability": found.by_probability, "majority": found.by_majority}
    return {name: voted == found.label for name, voted in right.items()}, ""


def _vote(name: str, right: Bools | None, problem: str) -> Cell:
    """Print the share of correctly classified specimens with Wilson's 95 % interval."""
    text, n, share, interval = problem, None, None, None
    if right is not None:
        n, share = int(right.sum()), float(right.mean())
        interval = wilson(n, len(right))
        text = f"{hundredths(share)} ({n} of {len(right)}; {format_interval(interval)})"
    return Cell(
        f"Votes by {name}",
        text,
        {
            f"votes_{name}_right": n,
            f"votes_{name}_accuracy": share,
            **interval_values(f"votes_{name}", interval),
        },
    )
