import numpy as np
import pytest

from hep2gan.data.grouping import largest_remainder
from hep2gan.data.phantom.specimens import (
    class_counts,
    plan_specimens,
    specimen_count,
    specimen_sizes,
)
from hep2gan.errors import Hep2ganError

LEVELS = ((7.5, 36), (8.5, 50), (4.5, 24), (7.5, 27), (5, 11), (5, 20))


@pytest.fixture(scope="module")
def many():
    return [one for seed in range(25) for one in plan_specimens(13596, seed)]


def test_the_full_set_has_the_real_sets_specimens():
    plan = plan_specimens(13596, 0)
    assert len(plan) == 83
    assert [one.number for one in plan] == list(range(83))
    assert [one.label for one in plan] == [0] * 16 + [1] * 16 + [2] * 16 + [3] * 16 + [4] * 15 + [
        *([5] * 4)
    ]
    assert sum(one.size for one in plan) == 13596
    assert min(one.size for one in plan) > 20


def test_levels_follow_the_recipe(many):
    for label, medians in enumerate(LEVELS):
        for intensity, median in enumerate(medians):
            level = np.array(
                [one.level for one in many if (one.label, one.intensity) == (label, intensity)]
            )
            assert np.median(level) == pytest.approx(median, rel=0.25 if label == 5 else 0.12)
            assert np.log(level).std() == pytest.approx(0.30, abs=0.1 if label == 5 else 0.05)


def test_backgrounds_gains_and_blur_follow_the_recipe(many):
    background = [np.array([s.background for s in many if s.intensity == i]) for i in (0, 1)]
    assert np.median(background[0]) == pytest.approx(19.5, rel=0.03)
    assert np.log(background[0]).std() == pytest.approx(0.13, abs=0.015)
    assert np.median(background[1]) == pytest.approx(19.5 * 1.25, rel=0.04)
    for name, low, high in (("gain", 38, 58), ("sharp", 0.6, 1.1), ("halo", 3, 6)):
        values = np.array([getattr(one, name) for one in many])
        assert low <= values.min()
        assert values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.03)


def test_45_percent_are_positive_and_no_class_lacks_either(many):
    assert np.mean([one.intensity for one in many]) == pytest.approx(0.45, abs=0.02)
    for seed in range(20):
        plan = plan_specimens(1000, seed)
        for label in range(6):
            assert {one.intensity for one in plan if one.label == label} == {0, 1}


def test_neighbours_by_class(many):
    assert [{one.neighbours for one in many if one.label == label} for label in range(6)] == [
        {1.1},
        {1.1},
        {1.1},
        {1.1},
        {2.0},
        {1.6},
    ]


def test_a_specimens_look_does_not_depend_on_the_count():
    few = {one.key: one for one in plan_specimens(300, 4)}
    for one in plan_specimens(13596, 4):
        if one.key in few:
            other = few[one.key]
            assert (one.stain, one.level, one.intensity) == (
                *(other.stain, other.level, other.intensity),
            )
    assert plan_specimens(300, 4) == plan_specimens(300, 4)
    assert plan_specimens(300, 4)[0].level != plan_specimens(300, 5)[0].level


def test_a_thousand_cells_leave_specimens_to_split():
    plan = plan_specimens(1000, 0)
    for label in range(6):
        own = [one for one in plan if one.label == label]
        assert len(own) >= 3
        assert all(one.size >= 3 for one in own)


def test_the_third_numem_specimen_repeats_the_second():
    plain = plan_specimens(1000, 0)
    numem = [one for one in plan_specimens(1000, 0, duplicate_specimen=True) if one.label == 4]
    first, second, third = numem[:3]
    assert (second.key, second.size, second.stain) == (third.key, third.size, third.stain)
    assert second.number + 1 == third.number
    assert first.key != second.key
    assert sum(one.size for one in numem) == sum(one.size for one in plain if one.label == 4)


def test_no_two_specimens_share_their_random_numbers():
    plan = plan_specimens(13596, 0)
    assert len({one.gain for one in plan}) == len({one.key for one in plan}) == 83


def test_specimens_differ_as_far_as_the_spread_says():
    plain, wide = plan_specimens(13596, 0), plan_specimens(13596, 0, spread=2.5)
    for one, other in zip(plain, wide, strict=True):
        # The same draw, farther from the middle; the pattern itself is untouched.
        assert other.stain == one.stain
        medians = (7.5, 8.5, 4.5, 7.5, 5, 5), (36, 50, 24, 27, 11, 20)
        median = medians[one.intensity][one.label]
        assert np.log(other.level / median) == pytest.approx(2.5 * np.log(one.level / median))
        assert other.sharp - 0.6 == pytest.approx(2.5 * (one.sharp - 0.6))
        assert other.gain == pytest.approx(max(48 + 2.5 * (one.gain - 48), 8))
    alike = plan_specimens(1000, 0, spread=0)
    assert {one.sharp for one in alike} == {0.6}


def test_bad_settings_name_the_fix():
    with pytest.raises(Hep2ganError, match="between 0 and 4"):
        plan_specimens(100, 0, spread=5)
    with pytest.raises(Hep2ganError, match="duplicate_specimen to false"):
        plan_specimens(10, 0, duplicate_specimen=True)
    with pytest.raises(Hep2ganError, match="seed -1"):
        plan_specimens(10, -1)
    with pytest.raises(Hep2ganError, match="at least 1"):
        plan_specimens(0, 0)


def apportion(total, weights):
    return largest_remainder(np.array(weights), total, at_least_one=True).tolist()


def test_cells_are_apportioned_by_largest_remainder():
    # Quotas 5.33, 3.33, 1.33: the one left over goes to the first of equal remainders.
    assert apportion(10, [16, 10, 4]) == [6, 3, 1]
    # Quotas 6.6, 2.4: the larger remainder wins.
    assert apportion(9, [11, 4]) == [7, 2]


def test_nobody_is_left_out():
    assert apportion(10, [100, 1, 1]) == [8, 1, 1]
    assert apportion(2, [100, 1, 1]) == [2, 0, 0]


def test_full_set_has_the_published_counts():
    assert class_counts(13596) == [2494, 2831, 2598, 2741, 2208, 724]


def test_thousand_cells_keep_the_proportions():
    # Quotas 183.44, 208.22, 191.09, 201.60, 162.40, 53.25: the two left over go to .60 and .44.
    assert class_counts(1000) == [184, 208, 191, 202, 162, 53]


@pytest.mark.parametrize("count", [6, 7, 20, 99, 1001])
def test_every_class_occurs_from_six_cells_on(count):
    counts = class_counts(count)
    assert sum(counts) == count
    assert min(counts) >= 1


def test_no_cells_is_an_error():
    with pytest.raises(Hep2ganError, match="0 synthetic cells"):
        class_counts(0)


def test_specimens_number_as_in_the_real_set_and_never_too_few():
    full = [specimen_count(label, cells) for label, cells in enumerate(class_counts(13596))]
    assert full == [16, 16, 16, 16, 15, 4]
    assert [specimen_count(0, cells) for cells in (0, 1, 2, 3, 36, 60, 10000)] == [
        *(0, 1, 2, 3, 3, 5, 16)
    ]


def test_twins_are_equally_large_and_nothing_is_lost():
    assert specimen_sizes(20, [1, 2, 1], twins=True) == [6, 7, 7]
    assert specimen_sizes(20, [1, 2, 1], twins=False) == [5, 10, 5]
    assert specimen_sizes(0, [], twins=False) == []
