"""What a run's trust says of a cell: its scaled probability, its entropy, whether it is unlike."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.runs.trust import Trust
from hep2gan.statistics.calibration import apply_temperature, normalized_entropy


class CellMeasures(NamedTuple):
    """How sure the classes of n cells are, and how near the cells are to the mixture's means.

    Attributes:
        entropy: (n,) entropy of the probabilities in [0, 1], 0 where one class is certain; None
            without a classifier.
        distance: (n,) Mahalanobis distance to the nearest mean; None without a mixture.
        nearest: (n,) class of that mean.
        unlike: (n,) whether the distance is beyond the run's limit; None without one.
    """

    entropy: npt.NDArray[np.float64] | None = None
    distance: npt.NDArray[np.float64] | None = None
    nearest: npt.NDArray[np.int64] | None = None
    unlike: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class TrustRule:
    """How predictions of new cells are scaled and measured.

    Attributes:
        temperature: See `apply_temperature`; 1 leaves probabilities as they are.
        limit: Squared distance beyond which a cell is unlike the training; None for no limit.
    """

    temperature: float = 1.0
    limit: float | None = None

    @classmethod
    def of(cls, trust: Trust | None, *, calibrated: bool = True) -> "TrustRule":
        """Take the rule of a run.

        Args:
            trust: What the run keeps; None for the rule that changes and flags nothing.
            calibrated: Whether probabilities are scaled.
        """
        if trust is None:
            return cls()
        limit = None if trust.distance is None else trust.distance.squared
        return cls(trust.temperature if calibrated else 1.0, limit)

    def scale(
        self, probabilities: npt.NDArray[np.floating] | None
    ) -> npt.NDArray[np.floating] | None:
        """Scale probabilities; the order of a cell's classes stays.

        Args:
            probabilities: (n, K) class probabilities, or None.

        Returns:
            (n, K) in float64, in which no two classes become equal; the same array at temperature
            1.
        """
        if probabilities is None or self.temperature == 1.0:
            return probabilities
        return apply_temperature(probabilities, self.temperature)

    def measure(
        self,
        probabilities: npt.NDArray[np.floating] | None,
        distances: npt.NDArray[np.floating] | None,
    ) -> CellMeasures:
        """Measure cells.

        Args:
            probabilities: (n, K) class probabilities as from `scale`, or None.
            distances: (n, K) squared distances to the mixture's means, or None.

        Returns:
            The measures.
        """
        entropy = None if probabilities is None else normalized_entropy(probabilities)
        if distances is None:
            return CellMeasures(entropy)
        squared = np.maximum(distances.min(axis=1).astype(np.float64), 0)
        unlike = None if self.limit is None else squared > self.limit
        nearest = np.asarray(distances.argmin(axis=1), np.int64)
        return CellMeasures(entropy, np.sqrt(squared), nearest, unlike)
