"""Cross-validation in one line: spread over folds, pooled accuracy, votes of specimens."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import Method, Result
from hep2gan.reports.tables.estimates import MEASURES, OVERLAPS, Estimate, estimates
from hep2gan.reports.tested import Tested, pooled
from hep2gan.statistics.confusion import SCORES, cell_confusions, scores
from hep2gan.statistics.intervals import Interval, wilson
from hep2gan.statistics.voting import votes


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

    method: Method
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


def folds(found: Sequence[Method]) -> list[FoldsRow]:
    """Return a row a method and seed of those that were run with `split.folds`."""
    rows = []
    for method in found:
        for seed in method.tests:
            own = {r.run.fold: r for r in method.results if r.run.seed == seed}
            results = [own[fold] for fold in sorted(f for f in own if f is not None)]
            if results:
                rows.append(_row(method, seed, results))
    return rows


def _row(method: Method, seed: str, results: Sequence[Result]) -> FoldsRow:
    cells = pooled([result.cells for result in results])
    figures = [_figures(result.cells) for result in results]
    by_probability, by_majority, problem = _votes(cells)
    return FoldsRow(
        replace(method, results=tuple(results)),
        seed,
        tuple(result.run.fold or 0 for result in results),
        int(results[0].run.split_settings["folds"]),
        {
            measure: [one[measure] for one in figures]
            for measure in MEASURES
            if all(measure in one for one in figures)
        },
        estimates([cells]),
        by_probability,
        by_majority,
        problem,
    )


def _figures(cells: Tested) -> dict[str, float]:
    found: dict[str, float] = {}
    if cells.predicted is not None:
        each = cell_confusions(cells.label, cells.predicted, len(cells.classes))
        found = dict(zip(SCORES, map(float, scores(each.sum(axis=0))), strict=True))
    for measure in OVERLAPS:
        if (values := getattr(cells, measure)) is not None:
            found[measure] = float(np.mean(values))
    return found


def _votes(cells: Tested) -> tuple[Vote | None, Vote | None, str]:
    if cells.probabilities is None:
        return None, None, "no classifier"
    try:
        found = votes(cells.specimen, cells.label, cells.probabilities)
    except Hep2ganError as error:
        return None, None, error.fact
    first, second = (
        _vote(int((guess == found.label).sum()), len(found.label))
        for guess in (found.by_probability, found.by_majority)
    )
    return first, second, ""


def _vote(right: int, specimens: int) -> Vote:
    return Vote(right, specimens, wilson(right, specimens))
