"""The measures of a method with their intervals, and differences of two methods."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.naming import seed_order
from hep2gan.reports.results import MethodResults, TestCells, pool
from hep2gan.reports.tables.table import ABSENT, Cell, Value, interval_values, mean_sd
from hep2gan.statistics.bootstrap import Bootstrapped, bootstrap, ratios
from hep2gan.statistics.classification import (
    MACRO_SCORES,
    Floats,
    cell_confusions,
    macro_scores,
    sum_by_group,
)
from hep2gan.statistics.significance import Interval, mcnemar, sign_flip_test

Statistic = Callable[[Floats], Floats]

UNFOLDED = -1
"""The fold of a run without folds; differs from every fold of another run."""


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
        by_cell = sum_by_group(self._joined("id"), self.gained)
        return int((by_cell > 0).sum()), int((by_cell < 0).sum())

    @cached_property
    def over_cells(self) -> dict[str, Bootstrapped]:
        """Differences, first less second, with intervals over cells."""
        return method_differences(self, specimens=False)

    @cached_property
    def over_specimens(self) -> dict[str, Bootstrapped]:
        """The same with intervals over specimens; empty where those are unknown."""
        return method_differences(self, specimens=True) if self.each.specimens else {}

    @cached_property
    def p_cells(self) -> float:
        """p of the exact McNemar test; with several seeds, of the sign test on the same cells."""
        return mcnemar(*self.discordant)

    @cached_property
    def p_specimens(self) -> float | None:
        """p of sign flips by specimen; None where specimens are unknown."""
        return self._p(self.gained) if self.each.specimens else None

    @cached_property
    def p_mean_class_accuracy(self) -> float:
        """p of sign flips of what each specimen, or each cell where unknown, adds to it."""
        _, place, cells = np.unique(self._joined("label"), return_inverse=True, return_counts=True)
        return self._p(self.gained / cells[place])

    def _p(self, gained: npt.NDArray[Any]) -> float:
        units = self._joined("specimen" if self.each.specimens else "id")
        return sign_flip_test(sum_by_group(units, gained))

    def _joined(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(tested, name) for tested in self.first])


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
    return (
        one.classes == other.classes
        and np.array_equal(one.label, other.label)
        and np.array_equal(one.crop_size, other.crop_size)
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
        cells: 95 % interval over cells; None if they show no spread.
        specimens: 95 % interval over specimens; None if they show no spread or are unknown.
        by_specimen: Whether specimens are known.
    """

    mean: float
    sd: float | None
    cells: Interval | None
    specimens: Interval | None
    by_specimen: bool

    @property
    def interval(self) -> Interval | None:
        """The interval over specimens if they are known, else over cells."""
        return self.specimens if self.by_specimen else self.cells


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
    """Return the columns of a measure in a CSV file: mean, standard deviation, both intervals.

    Args:
        measure: Name of the measure in metrics.json, without `test/`.
        found: Its estimate; None if the method lacks it.
    """
    return {
        measure: found and found.mean,
        f"{measure}_sd": found and found.sd,
        **interval_values(f"{measure}_cells", found and found.cells),
        **interval_values(f"{measure}_specimens", found and found.specimens),
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


def make_estimates(tests: Sequence[TestCells]) -> dict[str, Estimate]:
    """Estimate every measure that a method has.

    Intervals describe the mean over seeds for another sample of cells or specimens: a cell is
    resampled with its predictions of all seeds, which are not new cells. The variation between
    trainings is described by the standard deviation.

    Args:
        tests: Test cells of the method, one test set a seed.

    Returns:
        Estimate by measure.
    """
    found: dict[str, Estimate] = {}
    for measures, values, statistic in _kinds(tests):
        by_seed = [statistic(one.sum(axis=0)) for one in values]
        known = all(test.specimens for test in tests)
        over_cells = _bootstrapped([test.id for test in tests], values, statistic)
        units = [test.specimen for test in tests]
        over_specimens = _bootstrapped(units, values, statistic) if known else over_cells
        for place, measure in enumerate(measures):
            own = [float(figures[place]) for figures in by_seed]
            found[measure] = Estimate(
                mean=over_cells[place].estimate,
                sd=stdev(own) if len(own) > 1 else None,
                cells=over_cells[place].interval,
                specimens=over_specimens[place].interval if known else None,
                by_specimen=known,
            )
    return found


def method_differences(pairs: PairedResults, *, specimens: bool) -> dict[str, Bootstrapped]:
    """Estimate differences, first less second, of every measure that both have: means over seeds.

    Args:
        pairs: The cells that both methods test.
        specimens: Whether whole specimens are resampled, else cells.
    """
    found: dict[str, Bootstrapped] = {}
    units = [tested.specimen if specimens else tested.id for tested in pairs.first]
    others = {measures: values for measures, values, _ in _kinds(pairs.second)}
    for measures, values, statistic in _kinds(pairs.first):
        if measures in others:
            both = [np.stack(side, axis=1) for side in zip(values, others[measures], strict=True)]
            gaps = _bootstrapped(units, both, partial(_gap, statistic))
            found |= dict(zip(measures, gaps, strict=True))
    return found


def _gap(statistic: Statistic, sums: Floats) -> Floats:
    """First less second of the statistics of sums (..., 2, F) of two methods."""
    figures = np.moveaxis(statistic(sums), -2, 0)
    return np.asarray(figures[0] - figures[1])


class _Kind(NamedTuple):
    """Measures that are one function of sums over cells, and what each cell adds in each test."""

    measures: tuple[str, ...]
    values: list[Floats]
    statistic: Statistic


def _kinds(tests: Sequence[TestCells]) -> list[_Kind]:
    """Return the groups of measures that every test set has."""
    confusions = [
        cell_confusions(test.label, test.predicted, len(test.classes)).astype(np.float64)
        for test in tests
        if test.predicted is not None
    ]
    overlaps = [
        np.stack([test.dice, test.jaccard, np.ones(len(test))], axis=1)
        for test in tests
        if test.dice is not None and test.jaccard is not None
    ]
    kinds = _Kind(MACRO_SCORES, confusions, macro_scores), _Kind(OVERLAPS, overlaps, ratios)
    return [kind for kind in kinds if len(kind.values) == len(tests)]


def _bootstrapped(
    units: Sequence[npt.NDArray[Any]], values: Sequence[Floats], statistic: Statistic
) -> list[Bootstrapped]:
    """Bootstrap the mean of a statistic over seeds; units may recur in each test set."""
    shape = (-1, len(values), *values[0].shape[1:])
    distinct = np.unique(np.concatenate(units))
    sums = np.zeros((len(distinct), *shape[1:]))
    for seed, (unit, own) in enumerate(zip(units, values, strict=True)):
        np.add.at(sums[:, seed], np.searchsorted(distinct, unit), own)

    def over_seeds(sums: Floats) -> Floats:
        figures = statistic(sums.reshape(shape))
        known = np.isfinite(figures)
        pairs = np.stack([np.where(known, figures, 0).sum(axis=1), known.sum(axis=1)], axis=-1)
        return ratios(pairs)[..., 0]

    return bootstrap(sums.reshape(len(distinct), -1), over_seeds)
