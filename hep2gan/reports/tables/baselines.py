"""Generated masks beside those of trivial baselines, on the same cells."""

from collections.abc import Sequence
from statistics import fmean

from hep2gan.metrics.baselines import BASELINES
from hep2gan.reports.naming import group_pairs
from hep2gan.reports.results import MethodResults
from hep2gan.reports.study import Study
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import OVERLAPS, make_estimates, mean_and_sd
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Row,
    Table,
    interval_cell,
    method_cell,
)
from hep2gan.statistics.significance import Interval

_BASELINES = ("ellipse", "mean_mask", "otsu")
_MEASURES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "boundary_f1": "Boundary F1",
    "hd95": "95 % Hausdorff, px",
}
_NOTE = (
    "Percentages, distances in raw pixels; mean ± standard deviation over seeds, folds weighted by "
    "their cells. The ellipse does not depend on the image, the mean mask is the same for every "
    "cell, Otsu's threshold is computed for each image. Intervals are BCa bootstrap over whole "
    "specimens, or over cells where specimens are unknown."
)


@report_table("baselines", order=3)
def baselines_table(study: Study) -> Table | None:
    """Compare every method that generates masks with the baselines, from the runs' metrics.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without a method that generates masks.
    """
    rows = []
    for method in study.methods:
        estimates = make_estimates(list(method.tests.values()))
        for measure in _MEASURES:
            if values := _by_seed(method, f"test/{measure}"):
                interval = estimates[measure].interval if measure in OVERLAPS else None
                rows.append(_row(method, measure, values, interval))
    return Table("Masks beside trivial baselines", rows, notes=(_NOTE,)) if rows else None


def _row(
    method: MethodResults, measure: str, values: Sequence[float], interval: Interval | None
) -> Row:
    """Print one measure: the mean over seeds, and that of the baselines on the same cells."""
    (mean, sd), sign = mean_and_sd(values), -1 if measure == "hd95" else 1
    beside = {
        name: fmean(own) if (own := _by_seed(method, f"baseline/{name}_{measure}")) else None
        for name in _BASELINES
    }
    better = all(sign * fmean(values) > sign * own for own in beside.values() if own is not None)
    spread = f" ± {_number(measure, sd)}" if sd else ""
    fields = [
        Cell("Run", _number(measure, mean) + spread, {"mean": mean, "sd": sd}),
        interval_cell("95 % interval", "interval", interval),
        *(
            Cell(BASELINES[name].capitalize(), _number(measure, beside[name]), {name: beside[name]})
            for name in _BASELINES
        ),
        Cell("Tested on", method.cells_in_words),
        Cell(
            "Verdict",
            "better than all" if better else "no better than a baseline",
            {"better_than_all": better},
        ),
    ]
    return Row(
        [
            method_cell(method),
            Cell(values={"cells": len(method.cells)}),
            Cell("Measure", _MEASURES[measure], {"measure": measure}),
        ],
        [fields],
    )


def _by_seed(method: MethodResults, key: str) -> list[float] | None:
    """Average a metric over the cells of each seed's folds; None if a run lacks it."""
    seeds = group_pairs((result.run.seed, result) for result in method.results)
    if not all(key in result.run.metrics for result in method.results):
        return None
    return [
        sum(one.run.metrics[key] * len(one.cells) for one in own)
        / sum(len(one.cells) for one in own)
        for own in seeds.values()
    ]


def _number(measure: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.2f}" if measure == "hd95" else f"{100 * value:.2f}"
