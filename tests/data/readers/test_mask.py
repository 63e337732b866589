"""What a file says about which of its pixels are the nucleus."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from hep2gan.data.readers.mask import read_mask
from hep2gan.errors import Hep2ganError
from tests.data.readers.test_image import saved
from tests.helpers.raw_sets import draw

NUCLEUS = np.zeros((6, 8), np.uint8)
NUCLEUS[2:4, 3:6] = 1


@pytest.mark.parametrize("values", [[0, 1], [0, 255], [0, 7], [0, 0], [255, 255], [1, 1]])
def test_masks_of_two_values_are_binary(tmp_path, values):
    mask = read_mask(saved(tmp_path / "m.png", np.array([values], np.uint8)))
    assert mask.nucleus.dtype == np.uint8
    np.testing.assert_array_equal(mask.nucleus, [[int(value > 0) for value in values]])
    assert (mask.doubt, mask.way) == ("", "")


def test_masks_may_be_16_bit_or_coloured(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[0, 65535]], np.uint16))
    np.testing.assert_array_equal(read_mask(path).nucleus, [[0, 1]])
    red = np.zeros((1, 2, 3), np.uint8)
    red[0, 1, 0] = 255
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "r.png", red)).nucleus, [[0, 1]])


@pytest.mark.parametrize("values", [[0, 1, 2], [5, 9, 9], [7, 7, 7], [0, 128, 255]])
def test_masks_of_other_values_are_refused(tmp_path, values):
    path = saved(tmp_path / "m.png", np.array([values], np.uint8))
    with pytest.raises(Hep2ganError, match=r"m\.png is not binary.*Fix"):
        read_mask(path)


@pytest.mark.parametrize("colour", [255, 0, 90])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_the_mask_where_colours_are_constant(tmp_path, colour, channels):
    colours = np.full((6, 8, channels), colour, np.uint8)
    path = saved(tmp_path / "m.png", np.dstack([colours, NUCLEUS * 255]))
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.nucleus, NUCLEUS)
    assert "alpha" in mask.way


def test_alpha_of_a_palette_is_the_mask_where_its_colours_are_one(tmp_path):
    image = Image.fromarray(1 - NUCLEUS).convert("P")
    image.putpalette([255] * 6)
    image.save(tmp_path / "m.png", transparency=1)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").nucleus, NUCLEUS)


def test_alpha_that_says_the_same_as_the_colours_changes_nothing(tmp_path):
    shown = np.repeat(NUCLEUS[..., None] * 255, 4, 2)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.png", shown)).nucleus, NUCLEUS)
    shown[..., 3] = 255
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.png", shown)).nucleus, NUCLEUS)


def test_alpha_that_contradicts_the_colours_is_refused(tmp_path):
    shown = np.repeat(NUCLEUS[..., None] * 255, 4, 2)
    shown[..., 3] = 255 - shown[..., 3]
    with pytest.raises(Hep2ganError, match=r"one mask in its colours.*Fix: .*without alpha"):
        read_mask(saved(tmp_path / "m.png", shown))


@pytest.mark.parametrize("index", [1, 5])
@pytest.mark.parametrize("colours", [[(0, 0, 0), (128, 0, 0)], [(9, 9, 9), (9, 9, 9)]])
def test_indices_of_a_palette_count(tmp_path, index, colours):
    image = Image.fromarray(NUCLEUS * index).convert("P")
    image.putpalette([*colours[0], *(side for _ in range(index) for side in colours[1])])
    image.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(mask.nucleus, NUCLEUS)
    assert mask.doubt == ""


def test_a_palette_that_shows_the_nucleus_dark_is_doubtful(tmp_path):
    image = Image.fromarray(NUCLEUS).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(mask.nucleus, NUCLEUS)
    assert "palette" in mask.doubt


def test_colours_count_where_no_index_is_0(tmp_path):
    image = Image.fromarray(2 - NUCLEUS).convert("P")
    image.putpalette([7, 7, 7, 255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").nucleus, NUCLEUS)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, bool])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_white_as_zero_leaves_the_stored_values_and_is_doubtful(tmp_path, kind, byteorder):
    stored = NUCLEUS.astype(kind) * kind(np.iinfo(kind).max if kind is not bool else 1)
    tifffile.imwrite(tmp_path / "m.tif", stored, photometric="miniswhite", byteorder=byteorder)
    mask = read_mask(tmp_path / "m.tif")
    np.testing.assert_array_equal(mask.nucleus, NUCLEUS)
    assert "white is 0" in mask.doubt


def test_a_jpeg_is_read_at_half_of_white_unless_it_is_grey(tmp_path):
    for number in range(5):
        _, mask = draw(number)
        for quality in (10, 75):
            Image.fromarray(mask).save(tmp_path / "a.jpg", quality=quality)
            found = read_mask(tmp_path / "a.jpg")
            assert np.sum(found.nucleus != (mask > 0)) <= (6 if quality == 10 else 0)
            assert found.way == "JPEG masks, read at half of white"
        small = Image.fromarray(mask).resize((20, 20), Image.Resampling.BILINEAR)
        small.resize(mask.shape, Image.Resampling.BILINEAR).save(tmp_path / "b.jpg")
        Image.fromarray(mask // 255).save(tmp_path / "c.jpg")
        for name in ("b.jpg", "c.jpg"):
            with pytest.raises(Hep2ganError, match=r"is a JPEG with .* Fix: save 0 .* as PNG"):
                read_mask(tmp_path / name)
