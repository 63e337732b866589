"""Intervals of proportions, and p values of several comparisons.

Tests of two methods are in `statistics.methods`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from hep2gan.errors import Hep2ganError


class Interval(NamedTuple):
    """A confidence interval.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the Wilson score interval of the proportion successes / n.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22, 1927; no continuity correction.

    Args:
        successes: Number of successes, from 0 to n.
        n: Number of trials, above 0.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The interval, both ends in [0, 1].

    Raises:
        Hep2ganError: If an argument is out of range.

    Examples:
        >>> low, high = wilson(1335, 1360)
        >>> f"{low:.4f} {high:.4f}"
        '0.9730 0.9875'
    """
    if n <= 0 or not 0 <= successes <= n:
        raise Hep2ganError(f"{successes} of {n}", "a proportion needs 0 <= successes <= n, n > 0")
    if not 0 < confidence < 1:
        raise Hep2ganError(f"confidence is {confidence}", "must lie between 0 and 1", "say 0.95")
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for multiple comparisons; the order stays.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979.

    Args:
        p: The p values of one family of tests.

    Returns:
        The corrected p values, in the same order.

    Examples:
        >>> holm([0.01, 0.04, 0.03, 0.005])
        [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(p) else []
    return [float(value) for value in corrected]
