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
    """Concatenate RIC-LBP and motif co-occurrence.

    Args:
        image: (h, w) grey image.

    Returns:
        (471,) features.
    """
    return np.concatenate([ric_lbp_features(image), motif_features(image)])


def intensity_features(image: Image) -> Features:
    """Compute mean, standard deviation, minimum, maximum, median, 5 % and 95 % percentile.

    A classifier on these can use only how brightly a specimen was stained and photographed: its
    accuracy measures what a split leaks.

    Args:
        image: (h, w) grey image.

    Returns:
        (7,) features.
    """
    low, median, high = np.percentile(image, (5, 50, 95))
    return np.array(
        [image.mean(), image.std(), image.min(), image.max(), median, low, high], np.float32
    )


FeatureName = Literal["ric_lbp_motif", "intensity"]
FEATURES: dict[FeatureName, Callable[[Image], Features]] = {
    "ric_lbp_motif": ric_lbp_motif,
    "intensity": intensity_features,
}


class ForestSettings(Settings):
    """Settings of a random forest.

    Args:
        features: Features that are computed from an image.
        trees: Number of trees, at least 1.
    """

    features: FeatureName
    trees: PositiveInt = 1000

    def extract(self, images: Iterable[Image]) -> Features:
        """Extract the features of images.

        Args:
            images: N grey images (h, w), at least one.

        Returns:
            (N, D) features.
        """
        return np.stack([FEATURES[self.features](image) for image in images])

    def fit(
        self, features: Features, label: npt.NDArray[np.int64], seed: int, jobs: int = 1
    ) -> "RandomForestClassifier":
        """Fit a forest; the result is the same for any number of jobs.

        Args:
            features: (N, D) features.
            label: (N,) true classes.
            seed: Seed of the forest.
            jobs: Number of threads.

        Returns:
            The fitted forest, which predicts on one thread.
        """
        # Imported here, since scikit-learn takes half a second that few trainings need.
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(self.trees, random_state=seed, n_jobs=jobs)
        forest.fit(features, label)
        # Several threads would sum the trees' votes in a varying order.
        return forest.set_params(n_jobs=1)


def class_probabilities(
    forest: "RandomForestClassifier", features: Features, classes: int
) -> npt.NDArray[np.float32]:
    """Average the votes of the trees.

    Args:
        forest: A fitted forest.
        features: (N, D) features.
        classes: Number K of classes.

    Returns:
        (N, K) probabilities; zero for classes absent from the training.
    """
    probabilities = np.zeros((len(features), classes), np.float32)
    probabilities[:, forest.classes_] = forest.predict_proba(features)
    return probabilities
