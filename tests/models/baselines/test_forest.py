"""Features by name, the forest and its votes."""

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.models.baselines.forest import (
    FEATURES,
    ForestSettings,
    class_probabilities,
    intensity_features,
)
from hep2gan.models.baselines.texture import motif_features, ric_lbp_features


def made(cells=60, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, cells)
    return (label[:, None] + rng.normal(0, 0.1, (cells, 4))).astype(np.float32), label


def test_intensity_by_hand():
    image = np.arange(101, dtype=np.float32).reshape(1, 101)
    sd = np.sqrt((101**2 - 1) / 12)
    expected = [50, sd, 0, 100, 50, 5, 95]
    np.testing.assert_allclose(intensity_features(image), expected, rtol=1e-6)


def test_textures_stand_one_behind_the_other():
    image = np.random.default_rng(0).integers(0, 9, (40, 30)).astype(np.float32)
    both = FEATURES["ric_lbp_motif"](image)
    np.testing.assert_array_equal(
        both, np.concatenate([ric_lbp_features(image), motif_features(image)])
    )
    assert ForestSettings(features="ric_lbp_motif").extract([image, image]).shape == (2, 471)


def test_votes_name_the_class_and_leave_unknown_classes_at_zero():
    features, label = made()
    settings = ForestSettings(features="intensity", trees=20)
    forest = settings.fit(features, np.asarray([0, 2, 4])[label], seed=0)
    votes = class_probabilities(forest, features, 5)
    assert (votes.argmax(axis=1) == 2 * label).all()
    assert (votes[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(votes.sum(axis=1), 1, rtol=1e-6)


def test_the_same_seed_grows_the_same_forest_on_any_number_of_threads():
    features, label = made()
    noise = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    settings = ForestSettings(features="intensity", trees=10)
    one, two, other = (
        class_probabilities(settings.fit(features, label, seed, jobs), noise, 3)
        for seed, jobs in ((5, 1), (5, 2), (6, 1))
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("features", "sift", "one of ric_lbp_motif, intensity"),
        ("trees", 0, "a whole number, 1 or more"),
        ("trees", 1.5, "a whole number, 1 or more"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    with pytest.raises(Hep2ganError, match=f"^{key} is {value!r}: .*{rule}") as error:
        ForestSettings(**{"features": "intensity", key: value})
    assert error.value.fix
