"""Bootstrap intervals over samples of cells or specimens."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.classification import Floats, divide
from hep2gan.statistics.significance import Interval

RESAMPLES = 2000
"""Samples with replacement; the ends of a 95 % interval then rest on about 50 of them each."""

BLOCK = 2**20
"""Units sampled at a time: bounds memory, does not affect results."""

SAME_VALUE = 1e-12
"""Statistics closer than this count as equal."""


class Bootstrapped(NamedTuple):
    """A statistic of all units, and its interval over other samples of as many units.

    Attributes:
        estimate: The statistic of all units.
        interval: Its confidence interval; None if the units do not determine one: a single unit, or
            equal values in all samples.
    """

    estimate: float
    interval: Interval | None


def bootstrap(
    units: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Bootstrapped]:
    """Compute intervals of M statistics that are functions of sums over independent units.

    Intervals are bias-corrected and accelerated (`bca`).

    Args:
        units: (U, F) contribution of each unit to the sums: the confusion matrix of a cell or the
            summed one of a specimen, or a sum beside a count. With specimens as units this is a
            cluster bootstrap: their cells stay together.
        statistic: Function from sums (R, F) to statistics (R, M); NaN for a resample without a
            value, which is left out.
        resamples: Number R of samples with replacement.
        seed: Seed of the samples.
        confidence: Confidence level of the intervals, between 0 and 1.

    Returns:
        The M statistics, each with its interval.

    Raises:
        Hep2ganError: If there are no units.
    """
    if not len(units):
        raise Hep2ganError("there is nothing to resample", "a bootstrap needs at least one unit")
    # Equal units count once with their number: thousands of cells have few confusion matrices.
    distinct, counts = np.unique(units, axis=0, return_counts=True)
    total = counts @ distinct
    blocks = _resampled(distinct, counts, resamples, np.random.default_rng(seed))
    samples = np.concatenate([statistic(sums) for sums in blocks])
    estimates, left_out = statistic(total[None])[0], statistic(total - distinct)
    return [
        Bootstrapped(float(e), bca(float(e), samples[:, m], left_out[:, m], counts, confidence))
        for m, e in enumerate(estimates)
    ]


def bca(
    estimate: float,
    samples: Floats,
    left_out: Floats,
    counts: npt.NDArray[np.int64],
    confidence: float = 0.95,
) -> Interval | None:
    """Compute a bias-corrected and accelerated interval (B. Efron, JASA 82, 1987).

    Accuracies close to 1 have a skewed distribution, for which percentile intervals lean to the
    wrong side. For 83 simulated specimens at accuracy 0.97, intervals at 95 % covered it in 92 % of
    400 samples (percentiles: 89.5 %) and missed it more evenly on both sides. Where the correction
    does not exist, because every resample lies on one side of the estimate, the percentiles are
    used.

    Args:
        estimate: The statistic of all units.
        samples: (R,) resampled statistics.
        left_out: (D,) statistics without one unit of each distinct kind.
        counts: (D,) number of units of each kind.
        confidence: Confidence level of the interval, between 0 and 1.

    Returns:
        The interval; None if all samples are equal: that one specimen, or ten correct cells, show
        no spread is no evidence that another sample would have none.
    """
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    samples = samples[np.isfinite(samples)]
    # Sums of the same units in another order differ in their last bits.
    if not len(samples) or np.ptp(samples) < SAME_VALUE:
        return None
    bias = ndtri(((samples < estimate).mean() + (samples <= estimate).mean()) / 2)
    if np.isfinite(bias) and np.isfinite(acceleration := _acceleration(left_out, counts)):
        shifted = bias + ndtri(tails)
        tails = ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(samples, tails)
    return Interval(float(low), float(high))


def ratios(sums: Floats) -> Floats:
    """Divide sums by the count in their last entry.

    Args:
        sums: (..., F) sums.

    Returns:
        (..., F - 1) means; NaN where the count is 0.
    """
    return divide(sums[..., :-1], sums[..., -1:])


def _resampled(
    distinct: Floats, counts: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Yield sums (B, F) over as many units as there are, sampled with replacement."""
    kind = np.repeat(np.arange(len(counts)), counts)
    size = max(1, BLOCK // len(kind))
    for start in range(0, resamples, size):
        block = min(size, resamples - start)
        # Multinomial weights, by counting samples: faster than numpy's multinomial of many kinds.
        sampled = kind[rng.integers(len(kind), size=(block, len(kind)))]
        sampled += len(counts) * np.arange(block)[:, None]
        weights = np.bincount(sampled.reshape(-1), minlength=block * len(counts))
        yield weights.reshape(block, -1) @ distinct


def _acceleration(left_out: Floats, counts: npt.NDArray[np.int64]) -> float:
    """Skewness of the jackknife by 1/6; NaN where it does not vary."""
    finite = np.isfinite(left_out)
    left_out, counts = left_out[finite], counts[finite]
    if not len(left_out):
        return float("nan")
    spread = np.average(left_out, weights=counts) - left_out
    square = float(counts @ spread**2)
    return float(counts @ spread**3) / (6 * square**1.5) if square > 0 else float("nan")
