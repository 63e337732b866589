"""Cells of any size: dim ones beside bright ones, crowded fields, noise."""

import numpy as np

from hep2gan.data.fields.distance import find_cells_by_distance
from hep2gan.metrics.instances import average_precision, match_instances
from tests.data.fields.test_threshold import APART, field


def test_cells_of_three_sizes():
    one, other, third = field(APART[:1], 30), field(APART[1:3], 12), field(APART[3:], 20)
    labels = one[1] + 2 * other[1] + 5 * third[1]
    image = np.maximum.reduce([one[0], other[0], third[0]])
    assert average_precision(match_instances(labels, find_cells_by_distance(image), 0.8)) == 1


def test_a_dim_cell_keeps_its_place_beside_a_bright_one():
    image, labels = field([(60, 60), (60, 101)], level=120.0)
    image[labels == 2] = 15 + 0.5 * (image[labels == 2] - 15)
    assert average_precision(match_instances(labels, find_cells_by_distance(image), 0.7)) == 1


def test_a_crowded_field_whose_median_is_no_background():
    centres = [(y, x) for y in range(22, 190, 40) for x in range(22, 250, 40)]
    image, labels = field(centres, radius=19)
    assert np.median(image) > 40
    assert average_precision(match_instances(labels, find_cells_by_distance(image), 0.7)) == 1


def test_noise_is_no_cell():
    assert not find_cells_by_distance(field(())[0]).any()
