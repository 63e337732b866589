"""Statistical significance: intervals of proportions, tests of two methods."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, permutation_test

from hep2gan.errors import Hep2ganError

PERMUTATIONS = 9999
"""Random assignments of signs; the smallest p value is then 2 / 10,000."""


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


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided exact p value of McNemar's test that two methods are equally accurate.

    Source: Q. McNemar, Psychometrika 12, 1947; exact by the binomial distribution. It assumes that
    cells are independent; those of one specimen are not: see `sign_flip_test`.

    Args:
        only_first: Number of cells that the first method alone classifies correctly.
        only_second: Number of cells that the second method alone classifies correctly.

    Returns:
        The p value; 1 if both counts are 0.

    Raises:
        Hep2ganError: If a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise Hep2ganError(f"discordant cells are {only_first} and {only_second}", "0 or more each")
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


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


def sign_flip_test(
    differences: npt.NDArray[np.float64], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Compute the two-sided p value of equal methods by flipping the signs of paired differences.

    If the methods are equal, each difference is as likely to have the other sign. The sum is
    compared with the sums under all assignments of signs, or under random ones if there are more
    than `permutations`. Cells of one specimen change sign together.

    Args:
        differences: (U,) differences, first method less second, of each independent unit such as a
            specimen: in the number of correct cells, or in the sum of Dice.
        permutations: Largest number of assignments of signs.
        seed: Seed of the random signs.

    Returns:
        The p value; 1 if fewer than two differences are nonzero.
    """
    # Zeros do not affect the sum; without them, all assignments can be enumerated more often.
    differing = differences[differences != 0]
    # A single difference has the same magnitude with either sign.
    if len(differing) < 2:
        return 1.0
    result = permutation_test(
        (differing,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        batch=500,
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)
