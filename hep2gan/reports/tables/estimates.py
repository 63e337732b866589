"""The measures of a method with their intervals, and differences of two methods."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.reports.naming import seed_order
from hep2gan.reports.results import UNITS, MethodResults, TestCells, Unit, pool
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Value,
    format_interval,
    interval_values,
    mean_sd,
)
from hep2gan.statistics.classification import (
    MACRO_SCORES,
    cell_confusions,
    macro_scores,
    sum_by_group,
)
from hep2gan.statistics.clusters import FEWEST, CellValues, clustered_mean
from hep2gan.statistics.methods import PairedDifference, paired_difference
from hep2gan.statistics.significance import Interval

UNFOLDED = -1
"""The fold of a run without folds; differs from every fold of another run."""
BY_CELL = ("accuracy", "mean_class_accuracy", "dice", "jaccard", "boundary_f1", "hd95")
"""Measures that are means over cells, or over classes of such means: these can be tested."""


@dataclass(frozen=True)
class PairedResults:
    """Test results of two methods on the same cells in the same order, one test set a seed.

    A cell tested under several seeds is in several test sets, but is one cell.

    Attributes:
        first: Test sets of the first method.
        second: Test sets of the second method.
    """

    first: tuple[TestCells, ...]
    second: tuple[TestCells, ...]

    @cached_property
    def each(self) -> TestCells:
        """Every cell once, as the first method has it under the first seed."""
        return pool(self.first)

    @cached_property
    def gained(self) -> npt.NDArray[np.int64]:
        """(N,) of all test sets: 1 if only the first is correct, -1 if only the second, or 0."""
        one, other = (
            np.concatenate([_right(tested) for tested in side]).astype(np.int64)
            for side in (self.first, self.second)
        )
        return one - other

    @cached_property
    def discordant(self) -> tuple[int, int]:
        """Numbers of cells that one method classifies correctly under more seeds than the other.

        With one seed they are the cells that only the first, and only the second, gets right.
        """
        by_cell = sum_by_group(np.concatenate([test.id for test in self.first]), self.gained)
        return int((by_cell > 0).sum()), int((by_cell < 0).sum())

    @cached_property
    def unit(self) -> Unit:
        """What differences are tested over, beside seeds: the largest unit that either side knows.

        Blocks are known of a block split alone, also where another split is compared with it.
        """
        return max(self.each.unit, pool(self.second).unit, key=UNITS.index)

    @cached_property
    def differences(self) -> dict[str, PairedDifference]:
        """Differences, first less second, of every measure of `BY_CELL` that both have."""
        found = {}
        for measure in BY_CELL:
            sides = [[cell_values(test, measure) for test in side] for side in self._sides]
            pairs = [(a, b) for a, b in zip(*sides, strict=True) if a and b]
            if len(pairs) == len(self.first):
                found[measure] = paired_difference(
                    [
                        a._replace(value=a.value - b.value, unit=unit)
                        for (a, b), unit in zip(pairs, self._units, strict=True)
                    ]
                )
        return found

    @cached_property
    def _units(self) -> list[npt.NDArray[Any]]:
        """Which unit each cell of each test set belongs to."""
        pairs = zip(self.first, self.second, strict=True)
        knows = [one if one.unit == self.unit else other for one, other in pairs]
        return [test.units(self.unit) for test in knows]

    @property
    def _sides(self) -> tuple[tuple[TestCells, ...], tuple[TestCells, ...]]:
        return self.first, self.second


def pair_results(
    first: MethodResults, second: MethodResults, *, by_fold: bool = True
) -> PairedResults | str:
    """Pair the cells that both methods test under the same seed and fold.

    Args:
        first: One method.
        second: Another method.
        by_fold: Whether folds must agree; False if two kinds of split assign cells to different
            folds.

    Returns:
        The pairs, or the reason why there are none.
    """
    ours, theirs = _parts(first, by_fold), _parts(second, by_fold)
    paired: dict[str, list[tuple[TestCells, TestCells]]] = {}
    for key in sorted(ours.keys() & theirs.keys(), key=lambda k: (seed_order(k[0]), k[1])):
        one, other = ours[key], theirs[key]
        _, here, there = np.intersect1d(one.id, other.id, return_indices=True)
        if len(here):
            paired.setdefault(key[0], []).append((one.rows(here), other.rows(there)))
    if not paired:
        return "not paired: no cell is tested by both under the same seed" + " and fold" * by_fold
    if not all(_alike(*pair) for pairs in paired.values() for pair in pairs):
        return "not paired: the same ids name different cells"
    return PairedResults(
        tuple(pool([one for one, _ in pairs]) for pairs in paired.values()),
        tuple(pool([other for _, other in pairs]) for pairs in paired.values()),
    )


def _right(cells: TestCells) -> npt.NDArray[np.bool_]:
    if cells.predicted is None:
        raise Hep2ganError("one of two methods has no classifier", "right and wrong need classes")
    return np.asarray(cells.predicted == cells.label)


def _alike(one: TestCells, other: TestCells) -> bool:
    """Whether cells of one id are one cell, which may be cut wider or tighter by so many pixels."""
    wider = one.crop_size - other.crop_size
    return (
        one.classes == other.classes
        and np.array_equal(one.label, other.label)
        and bool((wider == wider[:1, :1]).all())
    )


def _parts(method: MethodResults, by_fold: bool) -> dict[tuple[str, int], TestCells]:
    if not by_fold:
        return {(seed, UNFOLDED): cells for seed, cells in method.tests.items()}
    # Of two runs of one seed the first counts.
    return {
        (one.run.seed, UNFOLDED if one.run.fold is None else one.run.fold): one.cells
        for one in reversed(method.results)
    }


OVERLAPS = ("dice", "jaccard")
ESTIMATED_MEASURES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "mean_class_accuracy": "Mean class accuracy",
    "dice": "Dice",
    "jaccard": "Jaccard",
}
"""Names in metrics.json, and in tables: Table I's columns and the two of section III-C."""


class Estimate(NamedTuple):
    """A measure in [0, 1] over seeds.

    Attributes:
        mean: Mean over seeds.
        sd: Sample standard deviation over seeds; None with one seed.
        intervals: 95 % intervals of the mean over other cells, blocks or specimens, of those that
            are known: None, or absent, where they do not determine one.
        unit: The largest unit that is known.
        missing: Why there is no interval over that unit, or empty.
    """

    mean: float
    sd: float | None
    intervals: Mapping[Unit, Interval | None] = MappingProxyType({})
    unit: Unit = "cell"
    missing: str = ""

    @property
    def interval(self) -> Interval | None:
        """The interval over specimens if they are known, else over blocks, else over cells."""
        return self.intervals.get(self.unit)


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Compute mean and sample standard deviation of the finite values.

    Args:
        values: Values, possibly NaN.

    Returns:
        Mean, None without a finite value; standard deviation, None with fewer than two.
    """
    finite = [value for value in values if math.isfinite(value)]
    return (fmean(finite) if finite else None, stdev(finite) if len(finite) > 1 else None)


def estimate_values(measure: str, found: Estimate | None) -> dict[str, Value]:
    """Return the columns of a measure in a CSV file: mean, standard deviation, its intervals.

    Args:
        measure: Name of the measure in metrics.json, without `test/`.
        found: Its estimate; None if the method lacks it.
    """
    return {
        measure: found and found.mean,
        f"{measure}_sd": found and found.sd,
        **{
            name: value
            for unit in UNITS
            for name, value in interval_values(
                f"{measure}_{unit}s", found and found.intervals.get(unit)
            ).items()
        },
    }


def estimate_cell(measure: str, found: Estimate | None) -> Cell:
    """Print mean and standard deviation, or a dash; the CSV file has `estimate_values`.

    Args:
        measure: Name of the measure, one of `ESTIMATED_MEASURES`.
        found: Its estimate; None if the method lacks it.
    """
    return Cell(
        ESTIMATED_MEASURES[measure],
        mean_sd(found.mean, found.sd) if found else ABSENT,
        estimate_values(measure, found),
    )


def interval_in_words(found: Estimate | None) -> str:
    """Print the interval over the largest unit that is known, or why there is none.

    Args:
        found: The estimate; a dash is printed for None.
    """
    if found is None:
        return ABSENT
    return format_interval(found.interval) if found.interval else f"none: {found.missing}"


def intervals_in_words(found: Estimate | None) -> tuple[str, str]:
    """Print the interval over cells, and that over specimens or blocks.

    Args:
        found: The estimate; dashes are printed for None.
    """
    over_cells = format_interval(found and found.intervals.get("cell"))
    return over_cells, ABSENT if found is None or found.unit == "cell" else interval_in_words(found)


def make_estimates(tests: Sequence[TestCells]) -> dict[str, Estimate]:
    """Estimate every measure that a method has.

    Intervals describe the mean over these trainings for another sample of cells, blocks or
    specimens: a specimen counts once, with its predictions of all seeds. The variation between
    trainings is described by the standard deviation. Macro precision, recall and F1 have no
    interval: they are no means over cells.

    Args:
        tests: Test cells of the method, one test set a seed.

    Returns:
        Estimate by measure.
    """
    found: dict[str, Estimate] = {}
    for measure in dict.fromkeys((*ESTIMATED_MEASURES, *BY_CELL)):
        if measure in BY_CELL:
            values = [cell_values(test, measure) for test in tests]
            known = [one for one in values if one is not None]
            figures = [one.mean for one in known]
        else:
            known = []
            figures = [macro[measure] for test in tests if (macro := macro_measures(test))]
        if len(figures) == len(tests):
            sd = stdev(figures) if len(figures) > 1 else None
            estimate = Estimate(fmean(figures), sd, unit=pool(tests).unit)
            found[measure] = _with_intervals(estimate, measure, tests) if known else estimate
    return found


def macro_measures(test: TestCells) -> dict[str, float]:
    """Compute the `MACRO_SCORES` of a test set; empty without a classifier.

    Args:
        test: Its cells.
    """
    if test.predicted is None:
        return {}
    confusion = cell_confusions(test.label, test.predicted, len(test.classes)).sum(axis=0)
    return dict(zip(MACRO_SCORES, map(float, macro_scores(confusion)), strict=True))


def cell_values(test: TestCells, measure: str, unit: Unit | None = None) -> CellValues | None:
    """Return what each cell adds to a measure of `BY_CELL`; None if the method lacks it.

    Args:
        test: The cells.
        measure: The measure.
        unit: What the cells are grouped by; None for the largest that is known.
    """
    stratum = np.zeros(len(test), np.int64)
    if measure in ("accuracy", "mean_class_accuracy"):
        if test.predicted is None:
            return None
        value = (test.predicted == test.label).astype(np.float64)
        stratum = test.label if measure == "mean_class_accuracy" else stratum
    elif (value := getattr(test, measure)) is None:
        return None
    return CellValues(value, test.units(unit or test.unit), stratum)


def too_few(few: tuple[int, int], measure: str, test: TestCells, unit: Unit) -> str:
    """Say why there is no interval: e.g. "Golgi has 2 specimens, fewer than 3".

    Args:
        few: A class and the number of its units.
        measure: The measure.
        test: Cells that have the class.
        unit: What the units are.
    """
    what = f"{test.classes[few[0]]} has " if measure == "mean_class_accuracy" else ""
    return f"{what}{pluralize(few[1], unit)}, fewer than {FEWEST}"


def _with_intervals(estimate: Estimate, measure: str, tests: Sequence[TestCells]) -> Estimate:
    intervals: dict[Unit, Interval | None] = {}
    missing = ""
    for unit in dict.fromkeys(("cell", estimate.unit)):
        values = [cell_values(test, measure, unit) for test in tests]
        found = clustered_mean(
            [one for one in values if one is not None],
            proportion=measure in ("accuracy", "mean_class_accuracy"),
        )
        intervals[unit] = found.interval
        missing = found.missing
        if found.few is not None:
            missing = too_few(found.few, measure, tests[0], unit)
    # With one seed the exact answer for independent cells, which also exists without an error.
    if measure == "accuracy" and len(tests) == 1:
        intervals["cell"] = tests[0].wilson()
        missing = missing if estimate.unit != "cell" else ""
    return estimate._replace(intervals=intervals, missing=missing)
