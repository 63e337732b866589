"""Means over cells that come in clusters, such as the cells of a specimen: t intervals.

Cells of a specimen share its stain and its picture, so that specimens, not cells, are the
independent draws. With few of them, Wilson's interval over cells and the bootstrap over specimens
are too narrow; `experiments/simulations.py` prints how often each covers the truth.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import t as student

from hep2gan.statistics.significance import Interval

Floats = npt.NDArray[np.float64]

FEWEST = 3
"""Clusters that a class must have for an interval: two show a spread, but hardly which."""


class ClusteredMean(NamedTuple):
    """A mean, and its interval over other clusters.

    Attributes:
        estimate: The mean.
        interval: Its confidence interval, or None.
        missing: Why there is no interval, e.g. "class 5 has 1 specimen"; empty where there is one.
        few: Class with too few clusters, and their number, where that is why; else None.
    """

    estimate: float
    interval: Interval | None
    missing: str = ""
    few: tuple[int, int] | None = None


class CellValues(NamedTuple):
    """One test set: what each of N cells contributes to a mean.

    Attributes:
        value: (N,) values, e.g. 1 for a cell that is classified correctly, else 0; or its Dice.
        unit: (N,) cluster of each cell, of any type that can be sorted.
        stratum: (N,) class of each cell if the mean is a mean of class means; else zeros.
    """

    value: Floats
    unit: npt.NDArray[Any]
    stratum: npt.NDArray[np.int64]

    @property
    def mean(self) -> float:
        """The mean over classes of the mean over cells."""
        return float(np.mean([self.value[rows].mean() for _, rows in self._rows()]))

    @property
    def influence(self) -> Floats:
        """(N,) what each cell adds to the mean beyond its class: their sum is 0.

        The first-order influence of a cell, (value - mean of its class) / (cells of the class x
        classes).
        """
        return self.influence_about({one: self.value[rows].mean() for one, rows in self._rows()})

    def influence_about(self, means: Mapping[int, float]) -> Floats:
        """(N,) the influences about other means of the classes, as of several test sets.

        Args:
            means: Mean of each class.
        """
        found, classes = np.zeros(len(self.value)), self._rows()
        for one, rows in classes:
            found[rows] = (self.value[rows] - means[one]) / (len(rows) * len(classes))
        return found

    def _rows(self) -> list[tuple[int, npt.NDArray[np.int64]]]:
        kinds = np.unique(self.stratum)
        return [(int(one), np.flatnonzero(self.stratum == one)) for one in kinds]


def _mean_over(tests: Sequence[CellValues], stratum: int) -> float:
    """The mean over test sets of the mean of a class, where they have it."""
    of = [one.value[one.stratum == stratum] for one in tests]
    return float(np.mean([values.mean() for values in of if len(values)]))


def clustered_mean(
    tests: Sequence[CellValues], *, proportion: bool = True, confidence: float = 0.95
) -> ClusteredMean:
    """Estimate a mean over test sets with a t interval over clusters.

    The variance is between clusters, each of which counts with its cells of all test sets together
    (linearised, also known as cluster-robust): with z_s the summed influence of cluster s about the
    means of its class over all test sets,

        V_k = S_k / (S_k - 1) * sum of z_s² over the S_k clusters of class k,  V = sum of V_k,

    and V² / sum(V_k² / (S_k - 1)) degrees of freedom (F. E. Satterthwaite, Biometrics Bulletin 2,
    1946). The interval of a proportion p is symmetric on the logit scale, logit p ± t·√V / (p (1 -
    p)) (E. L. Korn, B. I. Graubard, "Analysis of Health Surveys", 1999, section 2.8), so that it
    stays within 0 and 1.

    Args:
        tests: Test sets, one a seed; their mean is estimated. Clusters may recur in each.
        proportion: Whether the mean is a proportion. Else the interval is symmetric.
        confidence: Confidence level of the interval.

    Returns:
        The mean; its interval is None if any class has fewer than `FEWEST` clusters, or the
        clusters show no spread.
    """
    estimate = float(np.mean([one.mean for one in tests]))
    unit = np.unique(np.concatenate([one.unit for one in tests]), return_inverse=True)[1]
    stratum = np.concatenate([one.stratum for one in tests])
    by_class = {one: _mean_over(tests, one) for one in np.unique(stratum)}
    influence = np.concatenate([one.influence_about(by_class) for one in tests]) / len(tests)
    variances, free = [], []
    for one in np.unique(stratum):
        rows = stratum == one
        clusters, place = np.unique(unit[rows], return_inverse=True)
        if len(clusters) < FEWEST:
            return ClusteredMean(estimate, None, "too few", (int(one), len(clusters)))
        sums = np.bincount(place.reshape(-1), influence[rows])
        free.append(len(clusters) - 1)
        variances.append(len(clusters) / free[-1] * float(sums @ sums))
    variance = sum(variances)
    # Sums of equal values differ from 0 in their last bits.
    if variance < 1e-24:
        return ClusteredMean(estimate, None, "no spread")
    degrees = variance**2 / sum(v**2 / n for v, n in zip(variances, free, strict=True))
    half = float(student.ppf((1 + confidence) / 2, degrees)) * variance**0.5
    if not proportion:
        return ClusteredMean(estimate, Interval(estimate - half, estimate + half))
    half /= estimate * (1 - estimate)
    low, high = expit(logit(estimate) - half), expit(logit(estimate) + half)
    return ClusteredMean(estimate, Interval(float(low), float(high)))
