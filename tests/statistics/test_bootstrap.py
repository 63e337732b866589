import numpy as np
import pytest
from scipy import stats

from hep2gan.errors import Hep2ganError
from hep2gan.statistics import bootstrap as module
from hep2gan.statistics.bootstrap import bca, bootstrap, ratios
from hep2gan.statistics.classification import cell_confusions, macro_scores, sum_by_group

# Spatial test data, Efron and Tibshirani, An Introduction to the Bootstrap, 1993, table 14.1.
SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6]
SPATIAL += [0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]


def variance(sums):
    x, squares, count = sums.T
    return (squares / count - (x / count) ** 2)[:, None]


def test_the_interval_of_a_textbook():
    a = np.array(SPATIAL, float)
    units = np.stack([a, a**2, np.ones(26)], axis=1)
    ((estimate, (low, high)),) = bootstrap(units, variance, resamples=20_000, confidence=0.9)
    assert round(estimate, 1) == 171.5
    # Table 14.2 has (115.8, 259.6) by BCa, (100.8, 233.9) by percentiles.
    assert low == pytest.approx(115.8, abs=2.5)
    assert high == pytest.approx(259.6, abs=2.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_bca_against_scipy_on_the_same_resamples(seed):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=30)
    expected = stats.bootstrap((x,), np.mean, method="BCa", n_resamples=3000, rng=rng)
    left_out = (x.sum() - x) / 29
    found = bca(x.mean(), expected.bootstrap_distribution, left_out, np.ones(30, int))
    assert found == pytest.approx(tuple(expected.confidence_interval))
    plain = np.quantile(expected.bootstrap_distribution, (0.025, 0.975))
    assert abs(found.high - plain[1]) > 0.001


def test_a_mean_against_scipy():
    x = np.random.default_rng(3).beta(9, 1, size=80)
    expected = stats.bootstrap((x,), np.mean, method="BCa", n_resamples=20_000, rng=1)
    ((estimate, found),) = bootstrap(np.stack([x, np.ones(80)], 1), ratios, resamples=20_000)
    assert estimate == pytest.approx(x.mean())
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=0.0015)


def accuracy_units(label, predicted, unit):
    cells = cell_confusions(label, predicted, 3)
    return sum_by_group(unit, cells).reshape(-1, 9)


def of_sums(sums):
    return macro_scores(sums.reshape(-1, 3, 3))


def test_accuracy_over_cells_is_the_binomials():
    label = np.zeros(1360, int)
    predicted = (np.arange(1360) >= 1335).astype(int)
    units = accuracy_units(label, predicted, np.arange(1360))
    found = bootstrap(units, of_sums, resamples=20_000)[0]
    assert found.estimate == 1335 / 1360
    low, high = stats.binomtest(1335, 1360).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((low, high), abs=0.0012)


def test_specimens_whose_cells_fail_together_give_wider_intervals():
    # 40 specimens of 25 cells, 4 of them wholly wrong: 40 observations, not 1,000.
    specimen = np.repeat(np.arange(40), 25)
    label = specimen % 3
    predicted = np.where(specimen < 4, (label + 1) % 3, label)
    cells = bootstrap(accuracy_units(label, predicted, np.arange(1000)), of_sums)[0]
    clusters = bootstrap(accuracy_units(label, predicted, specimen), of_sums)[0]
    assert cells.estimate == clusters.estimate == 0.9
    cell_width, width = (i.high - i.low for _, i in (cells, clusters))
    assert width / cell_width == pytest.approx(5, rel=0.15)


def test_blocks_order_and_copies_change_no_digit(monkeypatch):
    rng = np.random.default_rng(0)
    units = np.stack([rng.integers(0, 5, 50), np.full(50, 5)], axis=1).astype(float)
    whole = bootstrap(units, ratios)
    assert bootstrap(units[::-1], ratios) == whole
    monkeypatch.setattr(module, "BLOCK", 70)
    assert bootstrap(units, ratios) == whole
    assert bootstrap(units, ratios, seed=1) != whole


@pytest.mark.parametrize(
    "units",
    [np.ones((9, 2)), np.array([[32.0, 40.0]]), np.array([[1.1, 7.0], [2.2, 14.0], [3.3, 21.0]])],
    ids=["all right", "one unit", "the same share up to rounding"],
)
def test_no_interval_without_spread(units):
    ((estimate, interval),) = bootstrap(units, ratios)
    assert estimate == pytest.approx(units[0, 0] / units[0, 1])
    assert interval is None


def test_resamples_without_a_value_are_left_out():
    # One unit of three has no value: 1/27 of the resamples has none.
    units = np.array([[3.0, 4.0], [1.0, 4.0], [0.0, 0.0]])
    ((estimate, interval),) = bootstrap(units, ratios)
    assert (estimate, *interval) == (0.5, 0.25, 0.75)


def test_nothing_to_resample():
    with pytest.raises(Hep2ganError, match="at least one unit"):
        bootstrap(np.zeros((0, 2)), ratios)
