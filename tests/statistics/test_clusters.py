import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import t as student

from hep2gan.statistics.clusters import CellValues, clustered_mean


def flat(value, unit):
    return CellValues(np.asarray(value, float), np.asarray(unit), np.zeros(len(value), np.int64))


def test_three_specimens_by_hand():
    # 1 of 2, 3 of 3, 4 of 5 right: p = 0.8, residuals -0.6, 0.6, 0; V = 3/2 · 0.72 / 100.
    found = clustered_mean([flat([1, 0, 1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 2, 2, 2, 2, 2])])
    assert found.estimate == 0.8
    half = student.ppf(0.975, 2) * np.sqrt(0.0108) / 0.16
    ends = 1 / (1 + np.exp(-(np.log(4) + np.array([-half, half]))))
    assert found.interval == pytest.approx(tuple(ends))


def test_a_mean_that_is_no_proportion_has_the_sandwich_of_statsmodels():
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 12, 90)
    value = rng.normal(0.9, 0.02, 90) + 0.01 * unit
    found = clustered_mean([flat(value, unit)], proportion=False)
    fit = sm.OLS(value, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": unit}, use_t=True)
    # statsmodels corrects for cells as well: (n - 1) / (n - 1) of one parameter is 1.
    assert found.interval == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-6)


def test_mean_class_accuracy_sums_the_variances_of_classes():
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(9), 6)
    stratum = np.where(unit < 5, 0, 1)
    value = (rng.random(54) < 0.8).astype(float)
    found = clustered_mean([CellValues(value, unit, stratum)])
    parts, free = [], []
    for one, count in ((0, 5), (1, 4)):
        means = value[stratum == one].reshape(count, 6).mean(axis=1)
        parts.append(means.var(ddof=1) / count / 4)
        free.append(count - 1)
    mean = np.mean([value[stratum == one].mean() for one in (0, 1)])
    assert found.estimate == pytest.approx(mean)
    degrees = sum(parts) ** 2 / sum(v**2 / n for v, n in zip(parts, free, strict=True))
    half = student.ppf(0.975, degrees) * np.sqrt(sum(parts)) / (mean * (1 - mean))
    logit = np.log(mean / (1 - mean))
    ends = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    assert found.interval == pytest.approx(tuple(ends))


def test_a_class_with_one_specimen_a_fold_spreads_as_its_specimens_do():
    # Class 0 is half right in each specimen; class 1 wholly, half, not at all: z = 1/12, 0, -1/12.
    stratum, by_fold = np.array([0, 0, 0, 0, 1, 1]), ([1, 1], [1, 0], [0, 0])
    folds = [
        CellValues(np.array([1.0, 0, 1, 0, *right]), np.array([0, 0, 1, 1, 2, 2]) + 3 * k, stratum)
        for k, right in enumerate(by_fold)
    ]
    found = clustered_mean(folds)
    assert found.estimate == 0.5
    half = student.ppf(0.975, 2) * np.sqrt(3 / 2 * 2 / 144) / 0.25
    assert found.interval == pytest.approx(tuple(1 / (1 + np.exp([half, -half]))))


def test_no_interval_without_specimens_enough_and_the_reason():
    stratum = np.array([0, 0, 0, 1, 1, 1])
    found = clustered_mean([CellValues(stratum * 1.0, np.array([0, 1, 2, 3, 4, 4]), stratum)])
    assert (found.interval, found.few) == (None, (1, 2))
    perfect = clustered_mean([flat(np.ones(9), np.arange(9) // 3)])
    assert (perfect.interval, perfect.missing) == (None, "no spread")


def test_seeds_on_the_same_cells_do_not_narrow_the_interval():
    one = flat([1, 0, 1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    assert clustered_mean([one] * 3).interval == pytest.approx(clustered_mean([one]).interval)
