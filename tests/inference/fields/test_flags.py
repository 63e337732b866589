import numpy as np
import pytest
from scipy import ndimage

from hep2gan.data.fields.regions import find_regions
from hep2gan.inference.fields.flags import flag_cells, measure_sharpness

SIDE = 48


def made(radii, blurred=(), at_border=()):
    """A row of textured discs, each in a square of its own, with those named out of focus."""
    rng, tiles, labels = np.random.default_rng(0), [], []
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    for number, radius in enumerate(radii, 1):
        shift = SIDE // 2 - radius + 2 if number - 1 in at_border else 0
        disc = np.hypot(y + shift, x) <= radius
        spots = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.0)
        tile = (60 + 120 * spots) * disc + 10
        tiles.append(ndimage.gaussian_filter(tile, 2.5) if number - 1 in blurred else tile)
        labels.append(disc * number)
    noise = rng.normal(0, 0.3, (SIDE, SIDE * len(radii)))
    image = (np.concatenate(tiles, axis=1) + noise).astype(np.float32)
    return image, np.concatenate(labels, axis=1).astype(np.int32)


def flags(*args, nucleus=None, **given):
    image, labels = made(*args, **given)
    return flag_cells(image, labels, find_regions(labels), nucleus)


def test_a_field_of_cells_all_alike_has_no_flag():
    found = flags([16] * 10, nucleus=32.0)
    assert not found.any.any()


def test_sizes_unlike_those_of_the_training():
    # Diameters of 15, 17, 63 and 65 px beside nuclei of 32.
    found = flags([7, 16, 20], nucleus=32.0)
    assert found.odd_size.tolist() == [True, False, False]
    assert flags([7, 16, 20], nucleus=None).odd_size.tolist() == [False] * 3
    assert flags([20], nucleus=15.0).odd_size.tolist() == [True]


def test_sizes_unlike_those_of_the_field():
    radii = [16] * 9 + [12, 15]
    found = flags(radii, nucleus=32.0)
    assert found.odd_size.tolist() == [False] * 9 + [True, False]
    # Too few to tell what is usual.
    assert not flags(radii[-5:], nucleus=32.0).odd_size.any()


def test_a_cell_at_the_border_is_of_no_odd_size():
    found = flags([16] * 9 + [16], at_border=(9,), nucleus=100.0)
    assert found.at_border.tolist() == [False] * 9 + [True]
    assert found.odd_size.tolist() == [True] * 9 + [False]


def test_blurred_cells_are_told_from_sharp_ones():
    found = flags([16] * 12, blurred=(3, 8))
    assert np.flatnonzero(found.out_of_focus).tolist() == [3, 8]
    # A field blurred as a whole has no cell that is less sharp than the rest.
    assert not flags([16] * 12, blurred=range(12)).out_of_focus.any()


def test_sharpness_is_a_ratio_that_brightness_does_not_change():
    image, labels = made([16] * 3)
    regions = find_regions(labels)
    one, other = (measure_sharpness(i, labels, regions, 32.0) for i in (image, 0.4 * image + 20))
    assert one == pytest.approx(other, rel=1e-3)
    flat = measure_sharpness(np.full_like(image, 7), labels, regions, 32.0)
    assert flat == pytest.approx(0, abs=1e-3)


def test_a_field_without_cells():
    found = flag_cells(np.ones((9, 9), np.float32), np.zeros((9, 9), np.int32), [], 30.0)
    assert [len(part) for part in found] == [0] * 4
