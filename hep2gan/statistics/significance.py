"""How far results can be trusted: intervals of proportions, tests of two methods."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, permutation_test

from hep2gan.errors import Hep2ganError

PERMUTATIONS = 9999
"""Random assignments of signs; the smallest p value is then 2 / 10,000."""


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


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided exact p value of McNemar's test that two methods are equally accurate.

    Source: Q. McNemar, Psychometrika 12, 1947; exact by the binomial distribution. It assumes that
    cells are independent; those of one specimen are not: see `sign_flip_test`.

    Args:
        only_first: cells that the first method alone classifies correctly.
        only_second: cells that the second method alone classifies correctly.

    Returns:
        The p value, 1 where both counts are 0.

    Raises:
        Hep2ganError: for negative counts.
    """
    if min(only_first, only_second) < 0:
        raise Hep2ganError(f"discordant cells are {only_first} and {only_second}", "0 or more each")
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for being one of many; the order stays.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979.

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
    """Compute the two-sided p value that two methods differ by chance alone, specimen by specimen.

    Were the methods alike, each difference might as well have the other sign; the sum is compared
    with sums under all signs, or under random ones where there are more. Cells of one specimen
    change sign together.

    Args:
        differences: (U,) lead of the first over the second in each independent unit, such as a
            specimen: correct cells, or a sum of Dice.
        permutations: number of random signs.
        seed: of the random signs.
    """
    # Zeros change no sum, and without them all signs can be tried more often.
    differing = differences[differences != 0]
    # One alone is as large with either sign.
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
