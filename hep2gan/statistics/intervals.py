"""Intervals for proportions: how much an accuracy on so many cells can be trusted."""

import math
from statistics import NormalDist

from hep2gan.errors import Hep2ganError


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (low, high) of successes / n, fractions in [0, 1].

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22, 1927; no continuity correction. Raises Hep2ganError unless 0 <= successes <= n,
    n > 0 and 0 < confidence < 1.

    >>> low, high = wilson(1335, 1360)
    >>> f"{low:.4f} {high:.4f}"
    '0.9730 0.9875'
    """
    if n <= 0 or not 0 <= successes <= n:
        raise Hep2ganError(f"{successes} of {n}", "a proportion needs 0 <= successes <= n, n > 0")
    if not 0 < confidence < 1:
        raise Hep2ganError(f"confidence is {confidence}", "must lie between 0 and 1", "say 0.95")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding may step past the ends of [0, 1], which the interval touches at 0 and n successes.
    low = 0.0 if successes == 0 else (centre - half) / (1 + z * z / n)
    high = 1.0 if successes == n else (centre + half) / (1 + z * z / n)
    return low, high
