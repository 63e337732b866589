"""Generated masks beside those of trivial baselines, on the same cells."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from hep2gan.errors import pluralize
from hep2gan.metrics.baselines import BASELINES
from hep2gan.reports.naming import group_pairs
from hep2gan.reports.results import MethodResults
from hep2gan.reports.study import Study
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    Estimate,
    cell_values,
    make_estimates,
    mean_and_sd,
)
from hep2gan.reports.tables.table import (
    ABSENT,
    LEVEL,
    Cell,
    Row,
    Table,
    format_interval,
    interval_cell,
    method_cell,
    p_value,
)
from hep2gan.statistics.clusters import CellValues
from hep2gan.statistics.methods import FEWEST_SEEDS, PairedDifference, paired_difference

_BASELINES = ("ellipse", "mean_mask", "otsu")
_MEASURES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "boundary_f1": "Boundary F1",
    "hd95": "95 % Hausdorff, px",
}
_NOTE = (
    "Percentages, distances in raw pixels; mean ± standard deviation over seeds, folds weighted "
    "by their cells. The ellipse does not depend on the image, the mean mask is the same for "
    "every cell, Otsu's threshold is computed for each image. Intervals, of the mean over these "
    "trainings, are t intervals between specimens, or between blocks or cells where specimens "
    "are unknown. Each mask is held against that of each baseline on the same cell, over seeds × "
    "specimens (with one seed over specimens: these masks, not the method); better than all is "
    "said where it is better than each with p below 0.05, and the largest p is printed; it is not "
    "corrected over measures and methods."
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
        rows += [
            _row(method, measure, values, estimates.get(measure))
            for measure in _MEASURES
            if (values := _by_seed(method, f"test/{measure}"))
        ]
    return Table("Masks beside trivial baselines", rows, notes=(_NOTE,)) if rows else None


def _row(
    method: MethodResults, measure: str, values: Sequence[float], found: Estimate | None
) -> Row:
    """Print one measure: the mean over seeds, and that of the baselines on the same cells."""
    (mean, sd), sign = mean_and_sd(values), -1 if measure == "hd95" else 1
    beside = {
        name: fmean(own) if (own := _by_seed(method, f"baseline/{name}_{measure}")) else None
        for name in _BASELINES
    }
    better, said = _verdict(against_baselines(method, measure), sign)
    spread = f" ± {_number(measure, sd)}" if sd else ""
    fields = [
        Cell("Run", _number(measure, mean) + spread, {"mean": mean, "sd": sd}),
        interval_cell(
            "95 % interval",
            "interval",
            found and found.interval,
            partial(format_interval, form=partial(_number, measure)),
        ),
        *(
            Cell(BASELINES[name].capitalize(), _number(measure, beside[name]), {name: beside[name]})
            for name in _BASELINES
        ),
        Cell("Tested on", method.cells_in_words),
        Cell("Verdict", said, {"better_than_all": better}),
    ]
    return Row(
        [
            method_cell(method),
            Cell(values={"cells": len(method.cells)}),
            Cell("Measure", _MEASURES[measure], {"measure": measure}),
        ],
        [fields],
    )


def against_baselines(method: MethodResults, measure: str) -> dict[str, PairedDifference]:
    """Test masks against those of each baseline on the same cells, masks less baseline.

    Args:
        method: The method.
        measure: Name of the measure.

    Returns:
        Difference by baseline; empty where predictions.npz does not record the margin of crops.
    """
    found: dict[str, list[CellValues]] = {}
    for test in method.tests.values():
        own = cell_values(test, measure)
        if own is None or test.baselines is None:
            return {}
        for name in _BASELINES:
            if (column := f"{name}_{measure}") in (test.baselines.dtype.names or ()):
                gap = own._replace(value=own.value - test.baselines[column])
                found.setdefault(name, []).append(gap)
    return {name: paired_difference(gaps) for name, gaps in found.items()}


def _verdict(against: Mapping[str, PairedDifference], sign: int) -> tuple[bool | None, str]:
    """Say whether masks are better than those of all baselines; an intersection-union test."""
    if not against:
        return None, "not tested"
    p = {name: one.p if sign * one.estimate > 0 else 1.0 for name, one in against.items()}
    seeds = max(one.seeds for one in against.values())
    whose = "" if seeds >= FEWEST_SEEDS else f"; these masks, {pluralize(seeds, 'seed')}"
    if max(p.values()) < LEVEL:
        return True, f"better than all ({p_value(max(p.values()))}){whose}"
    no_worse = [BASELINES[name] for name, value in p.items() if value >= LEVEL]
    return False, f"not shown to be better than {' and '.join(no_worse)}{whose}"


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
