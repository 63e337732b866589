"""Cells of a known size: what light does not tell is taken from the size."""

import numpy as np
import pytest
from skimage import draw

from hep2gan.data.fields.regions import find_regions
from hep2gan.data.fields.sized import find_cells_of_size
from hep2gan.metrics.instances import average_precision, match_instances
from tests.data.fields.test_threshold import APART, SHAPE, field

USUAL = np.pi * 20**2


def found(image):
    return find_cells_of_size(image, 40.0)


def test_cells_that_touch_at_different_brightness():
    image, labels = field([(60, 60), (60, 98), (140, 100), (140, 138)])
    image[labels == 2] *= 0.6
    image[labels == 3] *= 0.6
    assert average_precision(match_instances(labels, found(image), 0.7)) == 1


def test_cytoplasm_around_a_nucleus_is_drawn_in_to_its_size():
    image, _ = field(APART, radius=27)
    regions = find_regions(found(image))
    assert len(regions) == 4
    assert [region.area for region in regions] == pytest.approx([USUAL] * 4, rel=0.1)
    truth = field(APART)[1]
    assert average_precision(match_instances(truth, found(image), 0.8)) == 1


def test_a_nucleus_of_which_a_part_shows_becomes_a_circle():
    image, truth = field(())[0], field(APART)[1]
    for y, x in APART:
        image[draw.ellipse(y, x, 14, 10, shape=SHAPE)] += 60
    regions = find_regions(found(image))
    assert [region.area for region in regions] == pytest.approx([USUAL] * 4, rel=0.05)
    assert average_precision(match_instances(truth, found(image), 0.8)) == 1


def test_grains_outside_a_nucleus_are_no_cells():
    image, truth = field(APART, level=20.0)
    for y, x in APART:
        for shift in (-6, 0, 6):
            image[draw.disk((y + shift, x + 25), 2)] += 150
    assert average_precision(match_instances(truth, found(image), 0.7)) == 1
