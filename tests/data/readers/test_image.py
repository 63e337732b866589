"""A PNG's chunks are held against their checksums."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from hep2gan.data.phantom.generate import generate_cells
from hep2gan.data.readers import decoding
from hep2gan.data.readers.decoding import check_png_checksums
from hep2gan.data.readers.image import (
    decode_image,
    mend_hot_pixels,
    read_array,
    read_image,
    resize,
    resize_mask,
    stretch,
)
from hep2gan.errors import Hep2ganError

GREY = np.random.default_rng(0).integers(0, 256, (7, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (7, 5, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (7, 5), dtype=np.uint16)


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_8_bit_files_keep_their_grey_levels(tmp_path, suffix, mode):
    decoded = decode_image(saved(tmp_path / f"a.{suffix}", GREY, mode))
    np.testing.assert_array_equal(decoded.values, GREY)
    assert (decoded.values.dtype, decoded.full_scale) == (np.float32, 255)


def test_colour_becomes_unrounded_luma(tmp_path):
    decoded = decode_image(saved(tmp_path / "a.png", COLOUR))
    np.testing.assert_allclose(decoded.values, COLOUR @ [0.299, 0.587, 0.114], atol=1e-4)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png").values, [[10, 200]])


def test_one_bit_files_are_black_and_white(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[0, 255]], np.uint8), "1")
    np.testing.assert_array_equal(decode_image(path).values, [[0, 255]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_every_level(tmp_path, suffix):
    decoded = decode_image(saved(tmp_path / f"a.{suffix}", DEEP))
    np.testing.assert_array_equal(decoded.values, DEEP)
    assert decoded.full_scale == 65535


@pytest.mark.parametrize("array", [GREY, DEEP])
def test_tiff_with_white_as_zero_is_turned_around(tmp_path, array):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    path = tmp_path / "a.tif"
    # Pillow inverts 8-bit values when it writes, and 16-bit values at no time.
    Image.fromarray(array).save(path, tiffinfo=tags)
    full = 255 if array is GREY else 65535
    with Image.open(path) as image:
        strip = image.tag_v2[273][0]
    raw = np.frombuffer(path.read_bytes()[strip:][: array.nbytes], array.dtype)
    np.testing.assert_array_equal(decode_image(path).values, full - raw.reshape(array.shape))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_is_honoured(tmp_path, suffix):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: show a quarter turn clockwise
    path = saved(tmp_path / f"a.{suffix}", GREY, exif=exif)
    np.testing.assert_array_equal(decode_image(path).values, np.rot90(GREY, -1))


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_keeps_every_level(tmp_path, kind, channels):
    colours = np.random.default_rng(3).integers(0, 65536, (4, 3, channels)).astype(">u2")
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(colours, depth=16, kind=kind))
    decoded = decode_image(path)
    luma = colours[..., :3] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decoded.values, luma, rtol=1e-6)
    assert decoded.full_scale == 65535
    assert read_image(path, white_level=65535).max() == pytest.approx(luma.max() / 257, rel=1e-6)


def test_16_bit_grey_with_alpha_is_refused_by_its_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(np.zeros((2, 2, 2), ">u2"), depth=16, kind=4))
    refused(path, "16-bit grey with alpha", "8- or 16-bit grey PNG")


def png_bytes(array: np.ndarray, depth: int, kind: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    lines = b"".join(b"\0" + line.tobytes() for line in array)
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def refused(path: Path, *words: str) -> None:
    with pytest.raises(Hep2ganError) as caught:
        decode_image(path)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)


def test_missing_empty_and_foreign_files_are_named(tmp_path):
    refused(tmp_path / "none.png", "does not exist")
    refused(tmp_path, "cannot be opened")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "is empty")
    (tmp_path / "text.png").write_text("no image")
    refused(tmp_path / "text.png", "PNG, TIFF, BMP or JPEG")
    saved(tmp_path / "photo.gif", GREY)
    refused(tmp_path / "photo.gif", "PNG, TIFF, BMP or JPEG")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_every_truncation_is_noticed(tmp_path):
    whole = saved(tmp_path / "a.png", GREY).read_bytes()
    end = whole.index(b"IDAT") + 8  # what is cut behind the pixels takes nothing away
    for length in range(1, end):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        refused(tmp_path / "cut.png")
    whole = saved(tmp_path / "a.tif", GREY).read_bytes()
    for length in range(1, len(whole) - GREY.nbytes, 7):
        (tmp_path / "cut.tif").write_bytes(whole[:length])
        refused(tmp_path / "cut.tif")


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path):
    whole = bytearray(saved(tmp_path / "a.png", DEEP).read_bytes())
    for position in range(8, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        (tmp_path / "b.png").write_bytes(damaged)
        try:
            values = decode_image(tmp_path / "b.png").values
        except Hep2ganError:
            continue
        np.testing.assert_array_equal(values, DEEP)


def test_several_frames_are_refused(tmp_path):
    frame = Image.fromarray(GREY)
    for name, said in (("a.tif", "of 2 planes"), ("a.png", "several frames")):
        frame.save(tmp_path / name, save_all=True, append_images=[Image.fromarray(255 - GREY)])
        refused(tmp_path / name, said)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png_bytes(np.zeros((1, 1), np.uint8), 8, 0))
    data = bytearray((tmp_path / "a.png").read_bytes())
    for side, said in ((5000, "5000 × 5000 pixels"), (60000, "too large")):
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "b.png").write_bytes(data)
        refused(tmp_path / "b.png", said)
    monkeypatch.setattr(decoding, "MAX_BYTES", 10)
    refused(tmp_path / "a.png", "bytes")


def test_modes_without_grey_levels_are_refused(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "CMYK")
    for value in (np.nan, np.inf):
        saved(tmp_path / "b.tif", np.array([[0.5, value]], np.float32))
        refused(tmp_path / "b.tif", "non-finite")
    saved(tmp_path / "c.tif", np.array([[-1, 4]], np.int32))
    refused(tmp_path / "c.tif", "negative")


DIM = np.array([[0, 1000], [2000, 4095]], np.uint16)


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


def test_a_thin_line_of_a_mask_is_taken_or_left_by_the_nearest_pixel():
    # By weights of 3/8 it would vanish everywhere.
    line = np.tile(np.array([0, 0, 0, 1, 0, 0, 1, 0], np.uint8), (8, 1))
    np.testing.assert_array_equal(resize_mask(line, 4), np.tile([0, 1, 0, 0], (4, 1)))


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


WRONG = re.compile("checksum|too early|invalid chunk")


@pytest.fixture(scope="module")
def png():
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_whole_file_and_what_follows_it_pass(png):
    check_png_checksums(png)
    check_png_checksums(png + b"anything")


def test_every_flipped_byte_of_the_content_is_noticed(png):
    for place in range(8, len(png) - 12):
        broken = bytearray(png)
        broken[place] ^= 1
        with pytest.raises(ValueError, match=WRONG):
            check_png_checksums(bytes(broken))


def test_a_file_with_a_wrong_checksum_is_refused(png, tmp_path):
    broken = bytearray(png)
    broken[-13] ^= 1  # The last byte before the chunk that ends the file.
    (tmp_path / "cell.png").write_bytes(broken)
    with pytest.raises(Hep2ganError, match=r"cell\.png is damaged.*checksum"):
        read_image(tmp_path / "cell.png")


def test_every_cut_before_the_end_is_noticed(png):
    for length in range(len(png) - 4):
        with pytest.raises(ValueError, match="too early"):
            check_png_checksums(png[:length])


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_it_refuses_exactly_what_pillow_refuses(png, bit):
    """Pillow's own `verify` is the reference, behind the header that opening checks."""
    cases = [png[:length] for length in range(41, len(png) + 1)]
    for place in range(33, len(png)):
        broken = bytearray(png)
        broken[place] ^= bit
        cases.append(bytes(broken))
    for data in cases:
        assert accepts(check_png_checksums, data) == accepts(verified, data)


def accepts(check, data):
    try:
        check(data)
    except (ValueError, SyntaxError, OSError):
        return False
    return True


def verified(data):
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def with_hot_pixel(*places):
    """A nucleus as a 12-bit camera sees it, with its hot pixels at 65535 of 16 bits."""
    rows, columns = np.mgrid[:60, :60]
    nucleus = 300 + 3000 * np.exp(-((rows - 30) ** 2 + (columns - 25) ** 2) / 200)
    clean = np.rint(nucleus + np.random.default_rng(4).normal(0, 20, (60, 60))).astype(np.uint16)
    hot = clean.copy()
    for place in places:
        hot[place] = 65535
    return clean, hot


@pytest.mark.parametrize(
    "places", [[(5, 50)], [(0, 0)], [(30, 25)], [(59, 20)], [(5, 5), (5, 6)], [(9, 9), (40, 40)]]
)
def test_hot_pixels_leave_the_nucleus_its_levels(tmp_path, places):
    clean, hot = with_hot_pixel(*places)
    expected = read_image(saved(tmp_path / "clean.png", clean))
    read = read_image(saved(tmp_path / "hot.png", hot))
    np.testing.assert_array_equal(read_array("hot", hot), read)
    there = np.ones(clean.shape, bool)
    there[tuple(zip(*places, strict=True))] = False
    np.testing.assert_array_equal(read[there], expected[there])
    (stored, levels), (as_clean, whole) = (stretch(resize(i, 128)) for i in (read, expected))
    # All 256 levels but few: without mending, 12 of them.
    assert len(np.unique(stored)) > 240
    assert levels.hi == pytest.approx(whole.hi, rel=0.02)
    np.testing.assert_allclose(stored[40:90, 40:90], as_clean[40:90, 40:90], atol=40)


def test_a_white_level_below_a_hot_pixel_is_the_camera_s(tmp_path):
    clean, hot = with_hot_pixel((5, 50))
    read = read_image(saved(tmp_path / "hot.png", hot), 4095)
    np.testing.assert_allclose(read[30, 25], float(clean[30, 25]) * 255 / 4095, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.6, 1.0])
@pytest.mark.parametrize("place", [0.0, 0.25, 0.5])
def test_points_of_light_are_no_hot_pixels(sigma, place):
    rows, columns = np.mgrid[:9, :9]
    spread = (rows - 4 - place) ** 2 + (columns - 4 - place) ** 2
    point = (255 * np.exp(-spread / (2 * sigma**2))).astype(np.float32)
    assert mend_hot_pixels(point) is point


def test_ordinary_images_are_not_touched():
    for cell in generate_cells(50, 5):
        image = cell.image.astype(np.float32)
        assert mend_hot_pixels(image) is image
    # What is nothing but one pixel is left to whoever drew it.
    lone = np.zeros((5, 5), np.float32)
    lone[2, 2] = 9
    assert mend_hot_pixels(lone) is lone
