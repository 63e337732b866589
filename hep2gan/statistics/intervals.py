"""Intervals for proportions: how much an accuracy on so many cells can be trusted."""

from typing import NamedTuple

from scipy.stats import binomtest

from hep2gan.errors import Hep2ganError


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval (low, high) of successes / n, fractions in [0, 1].

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22, 1927; no continuity correction.

    Args:
        successes: between 0 and n.
        n: above 0.
        confidence: between 0 and 1.

    Raises:
        Hep2ganError: for other values.

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
