"""Masks beside what can be had without a network, on the same cells."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from hep2gan.reports.results import MethodResults, RunResult
from hep2gan.reports.tables.estimates import OVERLAPS, make_estimates
from hep2gan.reports.tables.table import (
    ABSENT,
    NamedRuns,
    TextTable,
    Value,
    csv_table,
    format_interval,
    inline_code,
    markdown_table,
    row_identity,
    rows_below,
    run_paths,
)
from hep2gan.reports.tables.table_1 import interval_ends
from hep2gan.statistics.intervals import Interval

BASELINE_NAMES = {
    "ellipse": "Inscribed ellipse",
    "mean_mask": "Mean mask",
    "otsu": "Otsu's threshold",
}
BASELINE_MEASURES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "boundary_f1": "Boundary F1",
    "hd95": "95 % Hausdorff, px",
}


class BaselinesRow(NamedTuple):
    """One measure of one method: mean over seeds, and of the priors on the same cells.

    interval: at 95 %, over specimens where they are known, else cells; of Dice and Jaccard.
    """

    method: MethodResults
    measure: str
    mean: float
    sd: float | None
    interval: Interval | None
    priors: dict[str, float]

    @property
    def better_than_all(self) -> bool:
        """Whether no prior does as well; the Hausdorff distance is better when smaller."""
        sign = -1 if self.measure == "hd95" else 1
        return all(sign * self.mean > sign * prior for prior in self.priors.values())


def baseline_rows(found: Sequence[MethodResults]) -> list[BaselinesRow]:
    """Return the rows of every method that generates masks, from the runs' metrics."""
    rows = []
    for method in found:
        intervals = _intervals(method)
        for measure in BASELINE_MEASURES:
            values = _by_seed(method, f"test/{measure}")
            if values is not None:
                sd = stdev(values) if len(values) > 1 else None
                beside = {
                    prior: _by_seed(method, f"baseline/{prior}_{measure}")
                    for prior in BASELINE_NAMES
                }
                known = {prior: fmean(own) for prior, own in beside.items() if own is not None}
                interval = intervals.get(measure)
                rows.append(BaselinesRow(method, measure, fmean(values), sd, interval, known))
    return rows


def baselines_markdown(rows: Sequence[BaselinesRow]) -> str:
    """A table with a line a method and measure, and the runs."""
    parts = [
        "# Masks beside trivial baselines\n",
        markdown_table(*measure_table(rows, inline_code)),
    ]
    runs = {row.method.title: row.method.runs for row in rows}
    return "\n".join([*parts, *rows_below(NOTE, [row.method for row in rows], runs)])


def measure_table(rows: Sequence[BaselinesRow], named: NamedRuns = str) -> TextTable:
    """A line a method and measure."""
    header = [
        "Method",
        "Measure",
        "Run",
        "95 % interval",
        *BASELINE_NAMES.values(),
        "Tested on",
        "Verdict",
    ]
    lines = [
        [
            named(row.method.title),
            BASELINE_MEASURES[row.measure],
            _number(row.measure, row.mean)
            + (f" ± {_number(row.measure, row.sd)}" if row.sd else ""),
            format_interval(row.interval),
            *(_number(row.measure, row.priors.get(prior)) for prior in BASELINE_NAMES),
            row.method.cells_in_words,
            "better than all" if row.better_than_all else "no better than a prior",
        ]
        for row in rows
    ]
    return TextTable(header, lines)


def baselines_csv(rows: Sequence[BaselinesRow]) -> str:
    """A line a method and measure: fractions, distances in raw pixels."""
    return csv_table([_line(row) for row in rows])


NOTE = (
    "Percentages, distances in raw pixels; mean ± standard deviation over seeds, folds weighed by "
    "their cells. The ellipse never looks at a pixel, the mean mask is the same for every cell, "
    "Otsu's threshold is of each image alone. Intervals are BCa bootstrap over whole specimens, "
    "or over cells where specimens are unknown."
)


def _intervals(method: MethodResults) -> dict[str, Interval | None]:
    found = make_estimates(list(method.tests.values()))
    return {m: found[m].interval for m in OVERLAPS if m in found}


def _by_seed(method: MethodResults, key: str) -> list[float] | None:
    """Means of a metric over the cells of each seed's folds; None where a run lacks it."""
    seeds: dict[str, dict[int, RunResult]] = {}
    for result in method.results:
        seeds.setdefault(result.run.seed, {}).setdefault(result.run.fold or 0, result)
    if not all(key in result.run.metrics for result in method.results):
        return None
    return [
        _weighed([(r.run.metrics[key], len(r.cells)) for r in own.values()])
        for own in seeds.values()
    ]


def _weighed(values: Sequence[tuple[float, int]]) -> float:
    return sum(value * cells for value, cells in values) / sum(cells for _, cells in values)


def _number(measure: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.2f}" if measure == "hd95" else f"{100 * value:.2f}"


def _line(row: BaselinesRow) -> dict[str, Value]:
    return row_identity(row.method) | {
        "cells": len(row.method.cells),
        "measure": row.measure,
        "mean": row.mean,
        "sd": row.sd,
        **interval_ends("interval", row.interval),
        **{prior: row.priors.get(prior) for prior in BASELINE_NAMES},
        "better_than_all": row.better_than_all,
        "run_paths": run_paths(row.method.runs),
    }
