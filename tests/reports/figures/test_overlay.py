import dataclasses

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures.overlay import blend_map, overlay, overlay_cell
from tests.helpers.report_fixtures import make_predictions

PURPLE = [0xCC, 0x66, 0xFF]


def test_the_outermost_pixels_of_the_mask_are_purple_and_the_rest_is_grey():
    image = np.arange(49, dtype=np.uint8).reshape(7, 7)
    mask = np.zeros((7, 7), np.uint8)
    mask[1:5, 2:6] = 255
    coloured = overlay(image, mask)
    edge = np.zeros((7, 7), bool)
    edge[1:5, 2:6] = True
    edge[2:4, 3:5] = False
    assert coloured.dtype == np.uint8
    assert coloured.shape == (7, 7, 3)
    assert (coloured[edge] == PURPLE).all()
    np.testing.assert_array_equal(coloured[~edge], np.repeat(image[~edge][:, None], 3, axis=1))


def test_at_the_border_the_outline_is_drawn_on_the_border():
    coloured = overlay(np.zeros((5, 5), np.uint8), np.ones((5, 5), np.uint8))
    assert (coloured[0] == PURPLE).all()
    assert (coloured[:, 4] == PURPLE).all()
    assert not coloured[1:4, 1:4].any()


def test_zero_one_and_zero_255_masks_are_the_same():
    image, mask = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    mask[3:6, 2:8] = 1
    np.testing.assert_array_equal(overlay(image, mask), overlay(image, mask * 255))


def test_a_map_colours_by_its_height_and_outlines_lie_on_it():
    image = np.full((3, 4), 100, np.uint8)
    values = np.zeros((3, 4), np.float32)
    values[1] = 1
    values[2] = 0.5
    mapped = blend_map(image, values)
    assert (mapped[0] == 100).all()
    # 0.4 · 100 + 0.6 · yellow; 0.7 · 100 + 0.3 · orange, (255, 128, 0).
    assert (mapped[1] == [193, 193, 40]).all()
    assert (mapped[2] == [146, 108, 70]).all()
    mask = np.zeros((3, 4), np.uint8)
    mask[1, 1] = 1
    outlined = overlay(mapped, mask)
    assert outlined[1, 1].tolist() == PURPLE
    assert np.array_equal(outlined[mask == 0], mapped[mask == 0])
    assert (mapped[1, 1] == [193, 193, 40]).all()  # the given picture is left as it is


def test_an_empty_mask_leaves_the_image_as_it_is():
    image = np.full((4, 6), 77, np.uint8)
    assert (overlay(image, np.zeros_like(image)) == 77).all()


def test_the_line_is_wider_on_large_images():
    mask = np.zeros((512, 600), np.uint8)
    mask[100:400, 100:500] = 1
    coloured = overlay(np.zeros_like(mask), mask)
    assert (coloured[250, :, 0] > 0).nonzero()[0].tolist() == [100, 101, 498, 499]


def test_the_image_is_not_changed():
    image = np.zeros((4, 4), np.uint8)
    overlay(image, np.ones((4, 4), np.uint8))
    assert not image.any()


@pytest.mark.parametrize("shape", [(4, 5), (5, 4, 1)])
def test_shapes_must_agree(shape):
    with pytest.raises(Hep2ganError, match="shapes"):
        overlay(np.zeros((5, 4), np.uint8), np.zeros(shape, np.uint8))


def test_soft_masks_are_refused():
    with pytest.raises(Hep2ganError, match="threshold it at 128"):
        overlay(np.zeros((1, 3), np.uint8), np.array([[0, 200, 255]], np.uint8))


def test_both_outlines_the_generated_one_on_top():
    predictions = make_predictions(counts=(1, 1), size=64)
    truth, mask = np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64), np.uint8)
    truth[:, 10:30, 10:30] = 1
    mask[0, 10:30, 20:40] = 255
    found = overlay_cell(dataclasses.replace(predictions, truth=truth, mask=mask), 0, side=100)
    assert found.shape == (128, 128, 3)
    green, purple = [0x2F, 0xD6, 0x8C], [0xCC, 0x66, 0xFF]
    # Doubled: rows 20 to 59; columns 20 to 59 and 40 to 79.
    assert found[20, 20].tolist() == green
    assert found[20, 45].tolist() == purple
    assert found[20, 79].tolist() == purple
    assert found[40, 59].tolist() == green
    grey = predictions.image[0, 5, 5]
    assert found[11, 11].tolist() == [grey] * 3
    alone = overlay_cell(dataclasses.replace(predictions, truth=truth, mask=None), 1, side=64)
    assert alone.shape == (64, 64, 3)
    assert alone[10, 29].tolist() == green
    bare = overlay_cell(dataclasses.replace(predictions, truth=None, mask=mask), 0, side=64)
    assert bare[10, 10].tolist() == [predictions.image[0, 10, 10]] * 3
    assert bare[10, 25].tolist() == purple
    plain = overlay_cell(dataclasses.replace(predictions, truth=None, mask=None), 0, side=64)
    assert (plain == predictions.image[0][:, :, None]).all()
