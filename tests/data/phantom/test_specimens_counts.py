import numpy as np
import pytest

from hep2gan.data.grouping import largest_remainder
from hep2gan.data.phantom.specimens import class_counts, specimen_count, specimen_sizes
from hep2gan.errors import Hep2ganError


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
