import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.calibration import (
    BOUNDS,
    apply_temperature,
    cross_fit_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    normalized_entropy,
    reliability,
    split_halves,
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


def test_the_error_weighs_bins_by_their_cells():
    probability = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    found = reliability(probability, np.array([0, 0, 1, 0]), bins=2)
    assert expected_calibration_error(found) == pytest.approx(abs(0.75 - (0.9 * 3 + 0.6) / 4))
    found = reliability(probability, np.array([0, 0, 1, 0]), bins=10)
    assert expected_calibration_error(found) == pytest.approx((3 * (0.9 - 2 / 3) + 0.4) / 4)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_bins_are_scikit_learns(many, bins):
    probability, label = many
    right = probability.argmax(axis=1) == label
    accuracy, confidence = calibration_curve(right, probability.max(axis=1), n_bins=bins)
    found = reliability(probability, label, bins)
    filled = found.cells > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], confidence)
    assert found.cells.sum() == 500


def test_likelihood_is_scikit_learns_and_impossible_is_finite(many):
    assert negative_log_likelihood(FOUR, TRUE) == pytest.approx(
        -(math.log(0.95) + math.log(0.15) + math.log(0.65) + math.log(0.6)) / 4
    )
    assert negative_log_likelihood(*many) == pytest.approx(log_loss(many[1], many[0]))
    certain = np.array([[1.0, 0.0]], np.float32)
    assert negative_log_likelihood(certain, np.array([1])) == pytest.approx(126 * math.log(2))


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
    for function in (reliability, negative_log_likelihood):
        with pytest.raises(Hep2ganError):
            function(probability, label)


def test_no_bins_are_refused():
    with pytest.raises(Hep2ganError, match="positive"):
        reliability(FOUR, TRUE, 0)


def test_a_confidence_on_an_edge_counts_below_it():
    found = reliability(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 0]), 4)
    assert found.cells.tolist() == [0, 1, 1, 0]


@pytest.fixture(scope="module")
def sure():
    """400 cells whose logits are three times too large, in 20 specimens of one class each."""
    rng = np.random.default_rng(1)
    specimen = np.repeat(np.arange(20), 20)
    logits = rng.normal(size=(400, 4))
    logits[np.arange(400), specimen % 4] += 1.5
    label = np.array([rng.choice(4, p=softmax(row)) for row in logits])
    return logits, softmax(3 * logits, axis=1).astype(np.float32), label, specimen


def test_scaling_probabilities_is_scaling_logits(sure):
    logits, probability, _, _ = sure
    np.testing.assert_allclose(
        apply_temperature(probability, 3.0), softmax(logits, axis=1), rtol=1e-4
    )
    np.testing.assert_allclose(apply_temperature(probability, 1.0), probability, rtol=1e-5)
    # Odds 9 : 1 become their square root, 3 : 1.
    np.testing.assert_allclose(apply_temperature(np.array([[0.9, 0.1]]), 2.0), [[0.75, 0.25]])
    with pytest.raises(Hep2ganError, match="positive"):
        apply_temperature(probability, 0.0)


def test_the_temperature_is_where_the_likelihood_is_flat(sure):
    logits, probability, label, _ = sure

    def slope(inverse):
        """Derivative of Σ −log softmax(b·3z)[label] over b."""
        mean = (softmax(inverse * 3 * logits, axis=1) * logits).sum(axis=1)
        return (mean - logits[np.arange(len(label)), label]).sum()

    expected = 1 / brentq(slope, 0.05, 5)
    assert fit_temperature(probability, label) == pytest.approx(expected, rel=1e-4)
    assert 2.5 < expected < 3.6


def test_the_temperature_of_equally_sure_cells_by_hand():
    # Three of four right at 90 %: odds 9 must become 3, its square root.
    probability = np.tile([0.9, 0.1], (4, 1))
    assert fit_temperature(probability, np.array([0, 0, 0, 1])) == pytest.approx(2, rel=1e-4)


def test_without_a_misreading_the_temperature_is_1():
    probability = np.tile([0.6, 0.4], (4, 1))
    assert fit_temperature(probability, np.zeros(4, np.int64)) == 1
    # With errors it may well be far from it: three of four right at 99.99 %.
    found = fit_temperature(np.tile([0.9999, 0.0001], (4, 1)), np.array([0, 0, 0, 1]))
    assert BOUNDS[0] < found < BOUNDS[1]
    assert found == pytest.approx(np.log(9999) / np.log(3), rel=1e-3)


def test_entropy_by_hand():
    found = normalized_entropy(np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(found, [1, 0, 0.5])
    assert normalized_entropy(np.ones((3, 1), np.float32)).tolist() == [0, 0, 0]


def test_each_half_is_scaled_by_the_other(sure):
    _, probability, label, specimen = sure
    found = cross_fit_temperature(probability, label, specimen, seed=2)
    for own, temperature in enumerate(found.temperatures):
        mine = split_halves(label, specimen, seed=2) == own
        assert temperature == fit_temperature(probability[~mine], label[~mine])
        np.testing.assert_array_equal(
            found.probabilities[mine], apply_temperature(probability[mine], temperature)
        )
    np.testing.assert_array_equal(found.probabilities.argmax(axis=1), probability.argmax(axis=1))
    before = negative_log_likelihood(probability, label)
    assert negative_log_likelihood(found.probabilities, label) < before


def test_a_cell_does_not_move_its_own_temperature(sure):
    _, probability, label, specimen = sure
    half = split_halves(label, specimen)
    before = cross_fit_temperature(probability, label, specimen).temperatures
    changed = probability.copy()
    changed[half == 0] = 0.25
    after = cross_fit_temperature(changed, label, specimen).temperatures
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_halves_keep_specimens_whole_and_classes_even(sure):
    specimen = sure[3]
    label = specimen % 4
    half = split_halves(label, specimen)
    assert all(len(set(half[specimen == one])) == 1 for one in range(20))
    counts = np.array([np.bincount(label[half == own], minlength=4) for own in (0, 1)])
    assert np.abs(counts[0] - counts[1]).max() <= 20
    np.testing.assert_array_equal(half, split_halves(label, specimen))
    assert (half != split_halves(label, specimen, seed=1)).any()


def test_cells_of_unknown_specimen_are_divided_one_by_one():
    label = np.repeat([0, 1, 2], 10)
    half = split_halves(label, np.full(30, -1))
    assert [int(half[label == k].sum()) for k in range(3)] == [5, 5, 5]
    np.testing.assert_array_equal(half, split_halves(label))
    mixed = np.where(label == 0, 7, -1)
    assert len(set(split_halves(label, mixed)[:10])) == 1


@pytest.mark.parametrize("label", [[0, 1, 2], [0, 0, 0], [0, 0, 1]])
@pytest.mark.parametrize("specimen", [[5, 5, 6], [-1, -1, -1], [6, 5, 5]])
def test_neither_half_of_very_few_cells_is_empty(label, specimen):
    half = split_halves(np.array(label), np.array(specimen))
    assert set(half) == {0, 1}
    if specimen[0] == specimen[1] == 5:
        assert half[0] == half[1]


def test_one_specimen_cannot_be_divided():
    with pytest.raises(Hep2ganError, match="one specimen"):
        split_halves(np.zeros(5, np.int64), np.full(5, 3))
    with pytest.raises(Hep2ganError, match="no cells"):
        split_halves(np.zeros(0, np.int64))
    assert math.isfinite(
        cross_fit_temperature(np.full((2, 2), 0.5), np.array([0, 1])).temperatures[0]
    )
