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
        unlike: (n,) whether the distance or the entropy is beyond the run's limit; None without
            limits.
    """

    entropy: npt.NDArray[np.float64] | None = None
    distance: npt.NDArray[np.float64] | None = None
    nearest: npt.NDArray[np.int64] | None = None
    unlike: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class TrustRule:
    """How predictions of new cells are scaled and measured.

    Attributes:
        temperature: That of the run, see `apply_temperature`; 1 leaves probabilities as they are.
        squared: Squared distance beyond which a cell is unlike the training; None for no limit.
        entropy: Entropy at the temperature beyond which it is so; None for no limit.
        calibrated: Whether probabilities are scaled by the temperature.
    """

    temperature: float = 1.0
    squared: float | None = None
    entropy: float | None = None
    calibrated: bool = True

    @property
    def has_limits(self) -> bool:
        """Whether it tells which cells are unlike the training."""
        return self.squared is not None or self.entropy is not None

    @classmethod
    def of(cls, trust: Trust | None, *, calibrated: bool = True) -> "TrustRule":
        """Take the rule of a run.

        Args:
            trust: What the run keeps; None for the rule that changes and flags nothing.
            calibrated: Whether probabilities are scaled.
        """
        if trust is None:
            return cls()
        limits = trust.unlike
        squared, entropy = (None, None) if limits is None else (limits.squared, limits.entropy)
        return cls(trust.temperature, squared, entropy, calibrated)

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
        if probabilities is None or self.temperature == 1.0 or not self.calibrated:
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
        undecided = None
        if probabilities is not None and self.entropy is not None:
            # Calibrated or not, the same cells are unlike the training.
            scaled = probabilities
            if not self.calibrated:
                scaled = apply_temperature(probabilities, self.temperature)
            undecided = normalized_entropy(scaled) > self.entropy
        if distances is None:
            return CellMeasures(entropy, unlike=undecided)
        squared = np.maximum(distances.min(axis=1).astype(np.float64), 0)
        far = None if self.squared is None else squared > self.squared
        found = [each for each in (far, undecided) if each is not None]
        unlike = np.logical_or.reduce(found) if found else None
        nearest = np.asarray(distances.argmin(axis=1), np.int64)
        return CellMeasures(entropy, np.sqrt(squared), nearest, unlike)
