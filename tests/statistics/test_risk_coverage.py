import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.risk_coverage import risk_coverage


def test_four_cells_by_hand():
    # Surest first: right, wrong, right, wrong.
    found = risk_coverage(np.array([0.6, 0.9, 0.8, 0.7]), np.array([False, True, False, True]))
    np.testing.assert_allclose(found.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_cells_trusted_alike_count_as_the_mean_of_their_orders():
    right = np.array([True, False, True, False, False])
    tied = risk_coverage(np.full(5, 0.5), right)
    np.testing.assert_allclose(tied.risk, 0.6)
    rng = np.random.default_rng(0)
    orders = [risk_coverage(rng.permutation(5) / 5, right).risk for _ in range(4000)]
    np.testing.assert_allclose(np.mean(orders, axis=0), tied.risk, atol=0.03)


def test_the_ideal_order_is_below_all_others():
    rng = np.random.default_rng(1)
    right = rng.random(200) < 0.8
    ideal = risk_coverage(right.astype(float), right)
    assert all(risk_coverage(rng.random(200), right).area > ideal.area for _ in range(20))
    assert ideal.risk[: right.sum()].max() == 0
    assert ideal.risk[-1] == pytest.approx(1 - right.mean())


def test_no_cells_are_refused():
    with pytest.raises(Hep2ganError, match="at least one cell"):
        risk_coverage(np.empty(0), np.empty(0, bool))
