import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.clusters import CellValues
from hep2gan.statistics.methods import crossed_test, paired_difference


def values(gained, unit, stratum=None):
    gained = np.asarray(gained, float)
    kind = np.zeros(len(gained), np.int64) if stratum is None else np.asarray(stratum)
    return CellValues(gained, np.asarray(unit), kind)


TABLE = np.array([[3.0, 1, 5, 2], [1, 0, 6, 4], [5, 1, 7, 1]])
"""Differences of three seeds on four specimens."""


def mean_squares(table):
    seeds, units = table.shape
    row, column, grand = table.mean(1), table.mean(0), table.mean()
    rest = table - row[:, None] - column + grand
    return (
        units * ((row - grand) ** 2).sum() / (seeds - 1),
        seeds * ((column - grand) ** 2).sum() / (units - 1),
        (rest**2).sum() / ((seeds - 1) * (units - 1)),
    )


def test_balanced_it_is_the_two_way_analysis_of_variance():
    by_seeds, by_units, error = mean_squares(TABLE)
    assert (by_seeds, by_units, error) == pytest.approx((0.75, 14.888889, 2.305556))
    found = paired_difference([values(row, range(4)) for row in TABLE])
    beyond = by_units - error
    variance = (by_seeds + beyond) / 12
    degrees = (by_seeds + beyond) ** 2 / (by_seeds**2 / 2 + beyond**2 / 3)
    assert found.estimate == 3.0
    assert found.p == pytest.approx(2 * student.sf(3 / np.sqrt(variance), degrees))
    half = student.ppf(0.975, degrees) * np.sqrt(variance)
    assert found.interval == pytest.approx((3 - half, 3 + half))
    assert (found.seeds, found.of_methods) == (3, True)


def test_without_specimens_that_differ_it_is_the_t_test_over_seeds():
    # Specimens alike on average: what they add beyond the interaction is below 0.
    table = np.array([[2.0, 4, 3], [3, 1, 2], [4, 4, 4]])
    table += table.mean(axis=0).mean() - table.mean(axis=0)
    found = paired_difference([values(row, range(3)) for row in table])
    assert found.p == pytest.approx(ttest_1samp(table.mean(axis=1), 0).pvalue)


def test_cells_of_a_specimen_count_together_and_seeds_may_test_others():
    first = values([1, 0, 0, 1, 1, -1], [0, 0, 1, 1, 2, 2])
    second = values([1, 1, 0, 0], [0, 0, 1, 3])
    found = paired_difference([first, second])
    assert found.estimate == pytest.approx((2 / 6 + 2 / 4) / 2)
    by_seed = np.array([2 / 6, 2 / 4])
    influence = np.array([[1 - 4 / 6, 1 - 4 / 6, -4 / 6, 0], [2 - 1, -0.5, 0, -0.5]])
    influence = influence / np.array([[6], [4]])
    # Both test the first two specimens alone: these make the covariance of two seeds.
    beyond = 4 / 3 * (influence[0] * influence[1]).sum()
    assert beyond > 0
    over_seeds = by_seed.var(ddof=1) / 2
    variance = over_seeds + beyond
    degrees = variance**2 / (over_seeds**2 + beyond**2 / 3)
    ratio = found.estimate / np.sqrt(variance)
    assert found.p == pytest.approx(2 * student.sf(ratio, degrees))
    assert not found.of_methods


def test_seeds_that_test_others_each_are_as_many_independent_results():
    rng = np.random.default_rng(0)
    tests = [values(rng.random(8) < 0.3 + 0.1 * i, np.arange(8) // 2 + 4 * i) for i in range(4)]
    found = paired_difference(tests)
    expected = ttest_1samp([one.mean for one in tests], 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_one_seed_tells_two_trainings_apart_over_specimens():
    sums = np.array([2.0, 1, 3, 0])
    found = paired_difference([values(sums, range(4))])
    assert found.p == pytest.approx(ttest_1samp(sums, 0).pvalue)
    assert not found.of_methods


def test_equal_methods_and_single_specimens_give_no_verdict():
    equal = paired_difference([values(np.zeros(6), range(6))] * 3)
    assert (equal.estimate, equal.interval, equal.p) == (0.0, None, 1.0)
    alone = paired_difference([values([1, 1, 0], [5, 5, 5])] * 3)
    assert (alone.interval, alone.p, alone.few) == (None, 1.0, (0, 1))
    # Class 1 has two specimens: nothing is known of its others.
    few = paired_difference([values([1, 1, 0, 0, 0, -1], range(6), [0, 0, 0, 0, 1, 1])] * 3)
    assert (few.interval, few.p, few.few) == (None, 1.0, (1, 2))
    with pytest.raises(Hep2ganError, match="a variance needs two of each"):
        crossed_test(np.ones(1), np.ones((1, 4)))


def test_differences_equal_by_chance_are_judged_by_what_they_vary_within():
    table = np.array([[2.0, 0, 1], [0, 1, 2], [1, 2, 0]])
    found = paired_difference([values(row, range(3)) for row in table])
    error = mean_squares(table)[2]
    assert found.p == pytest.approx(2 * student.sf(1 / np.sqrt(error / 9), 2))


def test_mean_class_accuracy_weighs_classes_alike():
    found = paired_difference([values([1, 1, 0, 0, 0, -1], range(6), [0, 0, 1, 1, 1, 1])])
    assert found.estimate == pytest.approx((1 - 0.25) / 2)
