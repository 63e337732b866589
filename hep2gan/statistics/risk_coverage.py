"""Risk by coverage: how often the most trusted cells are misclassified.

El-Yaniv & Wiener, "On the foundations of noise-free selective classification", JMLR 2010; the area
as in Geifman, Uziel & El-Yaniv, ICLR 2019, https://arxiv.org/abs/1805.08206.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError


class RiskCoverage(NamedTuple):
    """The cells in the order of their trust: those of a place and all before it.

    Attributes:
        coverage: (N,) share of all cells, 1/N to 1.
        risk: (N,) share of these that are misclassified; of cells that are trusted alike, the mean
            over their orders.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve (AURC), the mean risk over all coverages; the less, the better."""
        return float(self.risk.mean())


def risk_coverage(trust: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> RiskCoverage:
    """Order cells by trust, and compute the risk of the first one, the first two, and so on.

    Args:
        trust: (N,) the higher, the more a cell is trusted; such as its largest probability.
        right: (N,) whether it is classified correctly.

    Returns:
        The curve. Trust by chance has the error rate as area in expectation.

    Raises:
        Hep2ganError: If there are no cells, or the shapes differ.
    """
    if not len(right) or trust.shape != right.shape:
        raise Hep2ganError(
            f"trust and right have shapes {trust.shape} and {right.shape}",
            "a risk–coverage curve needs (N,) and (N,) of at least one cell",
        )
    _, group, cells = np.unique(-trust, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~right)
    # Within a group of equal trust errors are spread evenly.
    rate = np.repeat(wrong / cells, cells)
    places = np.arange(1, len(right) + 1)
    return RiskCoverage(places / len(right), np.cumsum(rate) / places)
