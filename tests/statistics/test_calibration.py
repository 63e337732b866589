import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.calibration import (
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability,
)

# Confidences .95 .85 .65 .60; the second is wrong.
FOUR = np.array([[0.95, 0.05], [0.15, 0.85], [0.65, 0.35], [0.4, 0.6]])
TRUE = np.array([0, 0, 0, 1])


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([0.3] * 6, 500)
    label = np.array([rng.choice(6, p=p) for p in 0.7 * probability + 0.05])
    return probability, label


def test_two_bins_by_hand():
    found = reliability(FOUR, TRUE, bins=2)
    assert found.edges.tolist() == [0, 0.5, 1]
    assert found.cells.tolist() == [0, 4]
    assert found.right.tolist() == [0, 3]
    assert math.isnan(found.accuracy[0])
    assert math.isnan(found.confidence[0])
    assert found.accuracy[1] == 0.75
    assert found.confidence[1] == pytest.approx(0.7625)


def test_errors_by_hand():
    # Bins of .1: (.5, .6] |1 − .6|, (.6, .7] |1 − .65|, (.8, .9] |0 − .85|, (.9, 1] |1 − .95|.
    found = reliability(FOUR, TRUE, bins=10)
    assert found.cells.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 1, 1]
    assert expected_calibration_error(found) == pytest.approx((0.4 + 0.35 + 0.85 + 0.05) / 4)
    assert maximum_calibration_error(found) == pytest.approx(0.85)


def test_the_error_weighs_bins_by_their_cells():
    probability = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    found = reliability(probability, np.array([0, 0, 1, 0]), bins=2)
    assert expected_calibration_error(found) == pytest.approx(abs(0.75 - (0.9 * 3 + 0.6) / 4))
    found = reliability(probability, np.array([0, 0, 1, 0]), bins=10)
    assert expected_calibration_error(found) == pytest.approx((3 * (0.9 - 2 / 3) + 0.4) / 4)


@pytest.mark.parametrize("mass", [False, True])
@pytest.mark.parametrize("bins", [5, 10, 15])
def test_bins_are_scikit_learns(many, mass, bins):
    probability, label = many
    right = probability.argmax(axis=1) == label
    strategy = "quantile" if mass else "uniform"
    accuracy, confidence = calibration_curve(
        right, probability.max(axis=1), n_bins=bins, strategy=strategy
    )
    found = reliability(probability, label, bins, equal_mass=mass)
    filled = found.cells > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], confidence)
    assert found.cells.sum() == 500
    if mass:
        assert found.cells.max() - found.cells.min() <= 1


def test_equally_sure_cells_stay_in_one_bin():
    probability = np.tile([0.9, 0.1], (7, 1))
    found = reliability(probability, np.zeros(7, np.int64), 5, equal_mass=True)
    assert sorted(found.cells) == [0, 0, 0, 0, 7]
    assert expected_calibration_error(found) == pytest.approx(0.1)


def test_likelihood_is_scikit_learns_and_impossible_is_finite(many):
    assert negative_log_likelihood(FOUR, TRUE) == pytest.approx(
        -(math.log(0.95) + math.log(0.15) + math.log(0.65) + math.log(0.6)) / 4
    )
    assert negative_log_likelihood(*many) == pytest.approx(log_loss(many[1], many[0]))
    certain = np.array([[1.0, 0.0]], np.float32)
    assert negative_log_likelihood(certain, np.array([1])) == pytest.approx(126 * math.log(2))


def test_brier_score_by_hand_and_twice_scikit_learns_of_two_classes(many):
    by_hand = 2 * (0.05**2 + 0.85**2 + 0.35**2 + 0.4**2) / 4
    assert brier_score(FOUR, TRUE) == pytest.approx(by_hand)
    assert brier_score(FOUR, TRUE) == pytest.approx(2 * brier_score_loss(TRUE, FOUR[:, 1]))
    probability, label = many
    one_by_one = sum(brier_score_loss(label == k, probability[:, k]) for k in range(6))
    assert brier_score(probability, label) == pytest.approx(one_by_one)


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        (FOUR, TRUE[:3]),
        (FOUR[:, 0], TRUE),
        (FOUR[:0], TRUE[:0]),
        (FOUR, TRUE + 1),
        (FOUR, TRUE - 1),
    ],
)
def test_what_does_not_fit_is_refused(probability, label):
    for function in (reliability, negative_log_likelihood, brier_score):
        with pytest.raises(Hep2ganError):
            function(probability, label)


def test_no_bins_are_refused():
    with pytest.raises(Hep2ganError, match="positive"):
        reliability(FOUR, TRUE, 0)


def test_a_confidence_on_an_edge_counts_below_it():
    found = reliability(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 0]), 4)
    assert found.cells.tolist() == [0, 1, 1, 0]
