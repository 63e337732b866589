import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hep2gan.data.readers.image import read_image, read_mask, resize, resize_mask, stretch
from hep2gan.errors import Hep2ganError
from tests.data.readers.test_image_decoding import GREY, png

DIM = np.array([[0, 1000], [2000, 4095]], np.uint16)


def saved(path, array):
    Image.fromarray(np.asarray(array)).save(path)
    return path


def test_16_bit_levels_are_scaled_by_white(tmp_path):
    path = saved(tmp_path / "a.png", DIM)
    np.testing.assert_allclose(read_image(path), DIM / 65535 * 255, rtol=1e-6)
    np.testing.assert_allclose(read_image(path, white_level=4095), DIM / 4095 * 255, rtol=1e-6)
    assert read_image(path, white_level=4095).max() == pytest.approx(255)


def test_white_leaves_8_bit_files_alone(tmp_path):
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "a.png", GREY), white_level=4095), GREY
    )


def test_values_above_white_are_refused(tmp_path):
    path = saved(tmp_path / "a.png", DIM)
    with pytest.raises(Hep2ganError, match=r"a\.png holds 4095: data\.white_level=4000"):
        read_image(path, white_level=4000)


def test_float_files_need_white(tmp_path):
    path = saved(tmp_path / "a.tif", np.array([[0, 0.5]], np.float32))
    np.testing.assert_allclose(read_image(path, white_level=1), [[0, 127.5]])
    with pytest.raises(Hep2ganError, match=r"a\.tif .*scale is unknown.*data\.white_level"):
        read_image(path)


def test_16_bit_colour_is_read_at_8_bits_without_white_only(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(np.full((2, 2, 3), 0x8000, ">u2"), depth=16, kind=2))
    np.testing.assert_array_equal(read_image(path), np.full((2, 2), 128))
    with pytest.raises(Hep2ganError, match="16-bit colour"):
        read_image(path, white_level=4095)


@pytest.mark.parametrize("values", [[0, 1], [0, 255], [0, 7], [0, 0], [255, 255], [1, 1]])
def test_masks_of_two_values_are_binary(tmp_path, values):
    mask = read_mask(saved(tmp_path / "m.png", np.array([values], np.uint8)))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[int(value > 0) for value in values]])


def test_masks_may_be_16_bit_or_coloured(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[0, 65535]], np.uint16))
    np.testing.assert_array_equal(read_mask(path), [[0, 1]])
    red = np.zeros((1, 2, 3), np.uint8)
    red[0, 1, 0] = 255
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "r.png", red)), [[0, 1]])


@pytest.mark.parametrize("values", [[0, 1, 2], [5, 9, 9], [7, 7, 7], [0, 128, 255]])
def test_masks_of_other_values_are_refused(tmp_path, values):
    path = saved(tmp_path / "m.png", np.array([values], np.uint8))
    with pytest.raises(Hep2ganError, match=r"m\.png is not binary.*Fix"):
        read_mask(path)


def test_resize_is_antialiased_and_in_float():
    # Halving by a bilinear filter of support 2 weighs neighbours 1/8, 3/8, 3/8, 1/8.
    row = np.array([0, 0, 0, 8, 0, 0, 0, 0], np.float32)
    small = resize(np.tile(row, (8, 1)), 4)
    np.testing.assert_allclose(small, np.tile([0, 3, 1, 0], (4, 1)), atol=1e-5)
    assert resize(np.full((3, 5), 0.3, np.float32), 16)[7, 9] == pytest.approx(0.3)


def test_resized_masks_stay_binary_and_keep_their_place():
    mask = np.zeros((10, 20), np.uint8)
    mask[:, 10:] = 1
    expected = np.tile([0] * 8 + [1] * 8, (16, 1))
    np.testing.assert_array_equal(resize_mask(mask, 16), expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 200), st.floats(1e-2, 55))
def test_stretching_loses_less_than_half_a_step(seed, lo, span):
    image = np.random.default_rng(seed).uniform(lo, lo + span, (6, 6)).astype(np.float32)
    stored, levels = stretch(image)
    assert (stored.min(), stored.max()) == (0, 255)
    assert (levels.lo, levels.hi) == (image.min(), image.max())
    back = levels.lo + stored / 255 * (levels.hi - levels.lo)
    assert np.abs(back - image).max() <= (levels.hi - levels.lo) / 510 + 1e-4


def test_a_constant_image_becomes_zeros():
    stored, levels = stretch(np.full((4, 4), 33, np.float32))
    assert not stored.any()
    assert levels == (33, 33)
