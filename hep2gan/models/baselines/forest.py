"""A random forest on texture or intensity features of an image."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hep2gan.models.baselines.texture import motif_features, ric_lbp_features
from hep2gan.settings import PositiveInt, Settings

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


Image = npt.NDArray[np.float32]
Features = npt.NDArray[np.float32]


def ric_lbp_motif(image: Image) -> Features:
    """Concatenate RIC-LBP and motif co-occurrence of an (h, w) image: (471,)."""
    return np.concatenate([ric_lbp_features(image), motif_features(image)])


def intensity_features(image: Image) -> Features:
    """Mean, standard deviation, minimum, maximum, median, 5 % and 95 % percentile: (7,).

    Whatever a classifier reaches on these, it reaches by how brightly a specimen was stained and
    photographed: a measure of what a split leaks.
    """
    low, median, high = np.percentile(image, (5, 50, 95))
    statistics = (image.mean(), image.std(), image.min(), image.max(), median, low, high)
    return np.asarray(statistics, np.float32)


FeatureName = Literal["ric_lbp_motif", "intensity"]
FEATURES: dict[FeatureName, Callable[[Image], Features]] = {
    "ric_lbp_motif": ric_lbp_motif,
    "intensity": intensity_features,
}


class ForestSettings(Settings):
    """Settings of a random forest.

    Args:
        features: what is computed from an image.
        trees: their number, at least 1.
    """

    features: FeatureName
    trees: PositiveInt = 1000

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
