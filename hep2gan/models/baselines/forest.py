"""A random forest on texture or intensity features of an image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError, require_choice
from hep2gan.models.baselines.intensity import intensity_features
from hep2gan.models.baselines.motif import motif_features
from hep2gan.models.baselines.ric_lbp import ric_lbp_features

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


Image = npt.NDArray[np.float32]
Features = npt.NDArray[np.float32]


def ric_lbp_motif(image: Image) -> Features:
    """Concatenate RIC-LBP and motif co-occurrence of an (h, w) image: (471,)."""
    return np.concatenate([ric_lbp_features(image), motif_features(image)])


FEATURES: dict[str, Callable[[Image], Features]] = {
    "ric_lbp_motif": ric_lbp_motif,
    "intensity": intensity_features,
}


@dataclass(frozen=True)
class ForestSettings:
    """Settings of a random forest.

    Args:
        features: a name in `FEATURES`.
        trees: their number, at least 1.

    Raises:
        Hep2ganError: for other settings.
    """

    features: str
    trees: int = 1000

    def __post_init__(self) -> None:
        require_choice("forest.features", self.features, tuple(FEATURES))
        if not isinstance(self.trees, int) or isinstance(self.trees, bool) or self.trees < 1:
            raise Hep2ganError(f"forest.trees is {self.trees!r}", "must be a positive whole number")

    def extract(self, images: Iterable[Image]) -> Features:
        """Extract features (N, D) of N grey images (h, w)."""
        return np.stack([FEATURES[self.features](image) for image in images])

    def fit(
        self, features: Features, label: npt.NDArray[np.int64], seed: int, jobs: int = 1
    ) -> "RandomForestClassifier":
        """Fit a forest to features (N, D) and labels (N,); the same for any number of `jobs`."""
        # Here, since every training imports these settings, and scikit-learn takes half a second.
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(self.trees, random_state=seed, n_jobs=jobs)
        forest.fit(features, label)
        # Several threads would sum the trees' votes in an order of their own.
        return forest.set_params(n_jobs=1)


def class_probabilities(
    forest: "RandomForestClassifier", features: Features, classes: int
) -> npt.NDArray[np.float32]:
    """Return mean votes (N, K) of the trees; zero for classes absent from the training."""
    probabilities = np.zeros((len(features), classes), np.float32)
    probabilities[:, forest.classes_] = forest.predict_proba(features)
    return probabilities
