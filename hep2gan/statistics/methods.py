"""Whether two methods differ by more than the noise of training and of the specimens tested.

Two trainings of one method that differ only in their seed differ in their results. A test of cells
or specimens alone calls that a difference: it tells two *trainings* apart, not two *methods*. A
verdict about methods needs several trainings of each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.clusters import FEWEST, CellValues, Floats
from hep2gan.statistics.significance import Interval

FEWEST_SEEDS = 3
"""Seeds from which on there is a verdict about methods; with two, a t interval is 13 wide."""

_ZERO = 1e-24
"""Variances of sums that differ in their last bits alone."""


class CrossedTest(NamedTuple):
    """Variance of a mean over seeds and units, with its degrees of freedom; arrays of one shape.

    Attributes:
        estimate: The mean over seeds.
        variance: Its variance over other seeds and other units.
        degrees: Degrees of freedom of the variance.
        p: Two-sided p value that the mean is 0.
    """

    estimate: Floats
    variance: Floats
    degrees: Floats
    p: Floats


def crossed_test(by_seed: Floats, influence: Floats) -> CrossedTest:
    """Test a mean over M seeds, each with S units (specimens, blocks or cells), against 0.

    Seeds and units are both random and crossed, as readers and cases in studies of radiology: the
    analysis of D. D. Dorfman, K. S. Berbaum, C. E. Metz (Investigative Radiology 27, 1992) and
    N. A. Obuchowski, H. E. Rockette (Communications in Statistics 24, 1995) of one paired
    difference. With d_i the difference under seed i and c_is the influence of unit s on it,

        V_seeds  = sum over i of (d_i - d)² / (M (M - 1))
        V_shared = S / (S - 1) * sum over s, i ≠ j of c_is c_js / (M (M - 1))
        V        = V_seeds + max(V_shared, 0)

    V_shared is the mean covariance of two seeds, by the units that both test: none where each seed
    tests others. For as many cells of each unit under each seed V is (MS_seeds + max(MS_units -
    MS_error, 0)) / (M·S) of a two-way table. V_seeds has M - 1 degrees of freedom, the second term
    S - 1; together, by Satterthwaite, V² / (V_seeds² / (M - 1) + V_shared² / (S - 1)) (S. L.
    Hillis, Statistics in Medicine 26, 2007, takes units for many).

    Args:
        by_seed: (..., M) differences d_i, M at least 2.
        influence: (..., M, S) influences c_is; 0 where a seed does not test a unit.

    Returns:
        The tests, of shape (...).

    Raises:
        Hep2ganError: If there are fewer than two seeds or units.
    """
    seeds, units = influence.shape[-2:]
    if min(seeds, units) < 2:
        raise Hep2ganError(f"{seeds} seeds and {units} units", "a variance needs two of each")
    estimate = by_seed.mean(axis=-1)
    by_seeds = by_seed.var(axis=-1, ddof=1) / seeds
    correction = units / (units - 1)
    squares = np.square(influence.sum(axis=-2)).sum(axis=-1)
    within = np.square(influence).sum(axis=(-2, -1))
    shared = correction * (squares - within) / (seeds * (seeds - 1))
    beyond = np.maximum(shared, 0)
    # Differences of a few cells may be equal under all seeds by chance: then what they vary within.
    interaction = correction * squares / seeds**2 - shared
    by_seeds = np.where(by_seeds > _ZERO, by_seeds, np.maximum(interaction, 0))
    variance = by_seeds + beyond
    sure = variance > _ZERO
    shares = by_seeds**2 / (seeds - 1) + beyond**2 / (units - 1)
    degrees = np.where(sure, variance**2 / np.where(sure, shares, 1), seeds - 1)
    ratio = np.abs(estimate) / np.sqrt(np.where(sure, variance, 1))
    # No spread at all: the same trainings under all seeds.
    p = np.where(sure, 2 * student.sf(ratio, degrees), 1.0)
    return CrossedTest(estimate, variance, degrees, p)


class PairedDifference(NamedTuple):
    """Difference of a measure between two methods on the same cells, first less second.

    Attributes:
        estimate: Mean over seeds.
        interval: 95 % interval: with several seeds over other seeds and units, with one over units
            for these trainings alone; None if they show no spread.
        p: Two-sided p value, of methods with several seeds, of these trainings with one; 1 where
            there is no interval.
        seeds: Number of seeds.
        few: Class with fewer units than `clusters.FEWEST`, and their number, so that there is
            neither interval nor p value; else None.
    """

    estimate: float
    interval: Interval | None
    p: float
    seeds: int
    few: tuple[int, int] | None = None

    @property
    def same(self) -> bool:
        """Whether both methods have the same result for every unit, as two with the same masks."""
        return self.few is None and self.interval is None and abs(self.estimate) < _ZERO**0.5

    @property
    def tested(self) -> bool:
        """Whether there is anything to test: enough units, and results that differ."""
        return self.few is None and not self.same

    @property
    def of_methods(self) -> bool:
        """Whether there are seeds enough to say anything about methods."""
        return self.seeds >= FEWEST_SEEDS


def paired_difference(
    differences: Sequence[CellValues], confidence: float = 0.95
) -> PairedDifference:
    """Test a paired difference by `crossed_test`; with one seed by the units alone.

    Args:
        differences: For each seed, differences cell by cell, first method less second.
        confidence: Confidence level of the interval.

    Returns:
        The difference. With one seed its variance is V_units and has S - 1 degrees of freedom.
    """
    seeds = len(differences)
    units = np.unique(np.concatenate([one.unit for one in differences]))
    influence = np.zeros((seeds, len(units)))
    for seed, one in enumerate(differences):
        np.add.at(influence[seed], np.searchsorted(units, one.unit), one.influence)
    by_seed = np.array([one.mean for one in differences])
    estimate = float(by_seed.mean())
    if (few := _too_few(differences)) is not None:
        return PairedDifference(estimate, None, 1.0, seeds, few)
    if seeds > 1:
        found = crossed_test(by_seed, influence)
        variance, degrees = float(found.variance), float(found.degrees)
        p = float(found.p)
    else:
        degrees = float(len(units) - 1)
        variance = len(units) / degrees * float(np.square(influence).sum())
        sure = variance > _ZERO
        p = float(2 * student.sf(abs(estimate) / variance**0.5, degrees)) if sure else 1.0
    if variance <= _ZERO:
        return PairedDifference(estimate, None, p, seeds)
    half = float(student.ppf((1 + confidence) / 2, degrees)) * variance**0.5
    return PairedDifference(estimate, Interval(estimate - half, estimate + half), p, seeds)


def _too_few(differences: Sequence[CellValues]) -> tuple[int, int] | None:
    """Return the first class with too few units to tell how they vary, and their number."""
    unit = np.concatenate([one.unit for one in differences])
    stratum = np.concatenate([one.stratum for one in differences])
    for one in np.unique(stratum):
        if (count := len(np.unique(unit[stratum == one]))) < FEWEST:
            return int(one), count
    return None
