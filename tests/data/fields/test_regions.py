"""Cells of a label image, and cutting them out; all values by hand."""

import numpy as np
import pytest

from hep2gan.data.fields.regions import CellRegion, cut_cell, find_regions, widen_box

LABELS = np.array(
    [
        [0, 0, 0, 0, 0, 0, 7],
        [0, 2, 2, 0, 0, 0, 7],
        [0, 2, 2, 2, 0, 0, 0],
        [0, 0, 0, 5, 0, 0, 0],
        [0, 5, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    np.int32,
)


def test_regions_in_the_order_of_their_numbers():
    assert find_regions(LABELS) == [
        CellRegion(2, (1, 1, 3, 4), (1.6, 1.8), 5, False),
        CellRegion(5, (3, 1, 5, 4), (3.5, 2.0), 2, False),
        CellRegion(7, (0, 6, 2, 7), (0.5, 6.0), 2, True),
    ]
    assert find_regions(LABELS * 0) == []


@pytest.mark.parametrize(("row", "column"), [(0, 3), (5, 3), (3, 0), (3, 6)])
def test_each_side_is_a_border(row, column):
    labels = np.zeros((6, 7), np.int32)
    labels[row, column] = 1
    assert find_regions(labels)[0].at_border
    labels[row, column], labels[2, 3] = 0, 1
    assert not find_regions(labels)[0].at_border


def test_a_cell_is_cut_with_its_margin_and_its_own_pixels():
    image = np.arange(42, dtype=np.float32).reshape(6, 7)
    two, five, seven = find_regions(LABELS)
    crop = cut_cell(image, LABELS, two, 1)
    assert crop.box == (0, 0, 4, 5)
    np.testing.assert_array_equal(crop.image, image[:4, :5])
    expected = [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert crop.mask.dtype == np.uint8
    assert crop.mask.tolist() == expected  # without the pixel of cell 5
    crop.image[:] = 0
    assert image[1, 1] == 8
    assert cut_cell(image, LABELS, five, 0).mask.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert cut_cell(image, LABELS, seven, 2).box == (0, 4, 4, 7)


def test_boxes_are_widened_within_the_field():
    assert widen_box((5, 6, 8, 9), 2, (20, 20)) == (3, 4, 10, 11)
    assert widen_box((1, 6, 19, 9), 3, (20, 11)) == (0, 3, 20, 11)
    assert widen_box((7, 1, 9, 4), 3, (20, 11)) == (4, 0, 12, 7)
    assert widen_box((1, 6, 19, 9), 0, (20, 11)) == (1, 6, 19, 9)
