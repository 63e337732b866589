import numpy as np
import pytest

from hep2gan.statistics.calibration import BOUNDS, apply_temperature
from hep2gan.statistics.trust_rule import TrustRule
from tests.helpers.made_up_trust import TRUST, WITHOUT


def test_nothing_changes_without_a_test():
    probabilities = np.array([[0.9, 0.1]], np.float32)
    rule = TrustRule.of(None)
    assert rule.scale(probabilities) is probabilities
    assert rule.measure(probabilities, np.ones((1, 2))).unlike is None


def test_measures_by_hand():
    found = TrustRule(squared=9.0).measure(
        np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[16.0, 9], [9.01, 25]], np.float32)
    )
    assert found.entropy.tolist() == [1, 0]
    np.testing.assert_allclose(found.distance, [3, 9.01**0.5], rtol=1e-6)
    assert found.nearest.tolist() == [1, 0]
    assert found.unlike.tolist() == [False, True]
    assert TrustRule(squared=9.0).measure(None, None) == (None, None, None, None)


def test_a_run_tells_its_rule():
    assert TrustRule.of(TRUST) == TrustRule(1.7, 12.5, 0.8)
    assert TrustRule.of(TRUST, calibrated=False) == TrustRule(1.7, 12.5, 0.8, calibrated=False)
    assert TrustRule.of(WITHOUT) == TrustRule(1.7)
    np.testing.assert_array_equal(
        TrustRule.of(TRUST).scale(np.array([[0.9, 0.1]])),
        apply_temperature(np.array([[0.9, 0.1]]), 1.7),
    )


def test_an_undecided_cell_is_unlike_the_training_calibrated_or_not():
    sure, unsure = [0.99, 0.01], [0.8, 0.2]
    p, near = np.array([sure, unsure]), np.ones((2, 2))
    # At temperature 2: √0.8 : √0.2 is 2 : 1, an entropy of 0.918 bits; √0.99 : √0.01 has 0.440.
    for calibrated in (True, False):
        rule = TrustRule(2.0, squared=4.0, entropy=0.9, calibrated=calibrated)
        scaled = rule.scale(p)
        assert (scaled is p) == (not calibrated)
        assert rule.measure(scaled, near).unlike.tolist() == [False, True]
        assert rule.measure(scaled, None).unlike.tolist() == [False, True]
        assert rule.measure(scaled, np.array([[5.0, 9], [1, 1]])).unlike.tolist() == [True, True]
    assert TrustRule(2.0, entropy=0.95).measure(TrustRule(2.0).scale(p), near).unlike.sum() == 0


@pytest.mark.parametrize("temperature", [*BOUNDS, 0.7, 3.0])
def test_no_temperature_changes_a_class(temperature):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.3] * 6, 2000).astype(np.float32)
    # Two classes one step of float32 apart.
    close = np.tile(np.float32(0.5), (2, 6))
    close[0, 3] = np.nextafter(np.float32(0.5), np.float32(1))
    close[1, :2] = np.nextafter(np.float32(0.5), np.float32(1)), 0.5
    p = np.concatenate([p, close / close.sum(axis=1, keepdims=True)])
    scaled = TrustRule(temperature).scale(p)
    np.testing.assert_array_equal(scaled.argmax(axis=1), p.argmax(axis=1))
