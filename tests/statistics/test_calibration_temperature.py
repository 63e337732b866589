import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.calibration import (
    BOUNDS,
    apply_temperature,
    cross_fit_temperature,
    fit_temperature,
    negative_log_likelihood,
    split_halves,
)


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


def test_without_a_misreading_the_temperature_is_the_lower_bound():
    probability = np.tile([0.6, 0.4], (4, 1))
    found = fit_temperature(probability, np.zeros(4, np.int64))
    assert found == pytest.approx(BOUNDS[0], rel=1e-4)


def test_each_half_is_scaled_by_the_other(sure):
    _, probability, label, specimen = sure
    found = cross_fit_temperature(probability, label, specimen, seed=2)
    for own, temperature in enumerate(found.temperatures):
        mine = found.half == own
        assert temperature == fit_temperature(probability[~mine], label[~mine])
        np.testing.assert_array_equal(
            found.probabilities[mine], apply_temperature(probability[mine], temperature)
        )
    np.testing.assert_array_equal(found.probabilities.argmax(axis=1), probability.argmax(axis=1))
    before = negative_log_likelihood(probability, label)
    assert negative_log_likelihood(found.probabilities, label) < before


def test_a_cell_does_not_move_its_own_temperature(sure):
    _, probability, label, specimen = sure
    half = cross_fit_temperature(probability, label, specimen).half
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
