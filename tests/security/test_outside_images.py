"""Images as they come from other people's microscopes, cameras and jokes."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.readers.image import read_image
from hep2gan.data.readers.mask import read_mask
from hep2gan.errors import Hep2ganError
from tests.data.readers.test_image import COLOUR, DEEP, GREY, png_bytes, saved


def refused(path, *words, white_level=None):
    with pytest.raises(Hep2ganError) as caught:
        read_image(path, white_level)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)


def luma(rgb):
    return np.asarray(rgb, np.float64) @ [0.299, 0.587, 0.114]


def test_a_png_bomb_of_pixels_and_one_of_text(tmp_path):
    # 20,000 × 20,000 black pixels in 50 kB, rightly made: refused by its header.
    packed = zlib.compressobj(1)
    line = bytes(20_001)
    body = b"".join(packed.compress(line) for _ in range(20_000)) + packed.flush()
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    refused(path, "too large", "crop the cells")
    text = b"Comment\0\0" + zlib.compress(bytes(8_000_000), 1)
    whole = png_bytes(GREY, 8, 0)
    path.write_bytes(whole[:33] + chunk(b"zTXt", text) * 3 + whole[33:])
    refused(path, "damaged")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_20_000_pixels_square_as_tiff(tmp_path):
    # One strip that is not there: the header is all that may be read.
    entries = [(256, 20_000), (257, 20_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)]
    entries += [(278, 20_000), (279, 400_000_000)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4))
    refused(path, "too large", "crop the cells")


def test_a_tiff_of_a_million_pages_is_refused_without_counting_them(tmp_path):
    first = saved(tmp_path / "a.tif", GREY).read_bytes()
    start = struct.unpack_from("<I", first, 4)[0]
    entries = struct.unpack_from("<H", first, start)[0]
    link = start + 2 + 12 * entries
    pages = bytearray(first)
    struct.pack_into("<I", pages, link, len(first))
    for page in range(1_000_000):
        pages += struct.pack("<HI", 0, len(first) + 6 * (page + 1))
    (tmp_path / "a.tif").write_bytes(pages)
    refused(tmp_path / "a.tif", "4096 planes")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_pixel(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", np.array([[77]], np.uint8))
    np.testing.assert_array_equal(read_image(path), [[77]])


def test_16_bits_12_bits_and_big_endian(tmp_path):
    path = tmp_path / "a.tif"
    np.testing.assert_allclose(read_image(saved(path, DEEP)), DEEP / 257, rtol=1e-6)
    twelve = DEEP >> 4
    np.testing.assert_allclose(
        read_image(saved(path, twelve), white_level=4095), twelve / 4095 * 255, rtol=1e-6
    )
    entries = [(256, 5), (257, 7), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1)]
    entries += [(278, 7), (279, 70)]
    body = b"".join(struct.pack(">HHIHH", t, 3, 1, v, 0) for t, v in entries)
    path.write_bytes(
        b"MM\0*" + struct.pack(">IH", 8, 9) + body + bytes(4) + DEEP.astype(">u2").tobytes()
    )
    np.testing.assert_allclose(read_image(path), DEEP / 257, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_alpha_and_palette(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    np.testing.assert_allclose(read_image(saved(path, COLOUR)), luma(COLOUR), atol=1e-3)
    rgba = np.dstack([COLOUR, GREY])
    np.testing.assert_allclose(read_image(saved(path, rgba)), luma(COLOUR), atol=1e-3)
    image = Image.fromarray(COLOUR).quantize(16)
    image.save(path)
    np.testing.assert_allclose(read_image(path), luma(np.asarray(image.convert("RGB"))), atol=1e-3)


def test_a_transparent_palette_entry_keeps_its_grey(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[10, 200]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).T),
        (8, np.rot90),
    ],
)
def test_every_orientation_is_turned_upright(tmp_path, suffix, orientation, turned):
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / f"a.{suffix}", GREY, exif=exif)
    np.testing.assert_array_equal(read_image(path), turned(GREY))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_animations_and_pages_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.fromarray(np.roll(GREY, n)) for n in range(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refused(path, *(("of 5 planes",) if suffix == "tif" else ("several frames", "save each frame")))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_a_cut_file_is_refused(tmp_path, kind):
    path = saved(tmp_path / "a.tif", np.tile(GREY, (9, 9)), compression=kind)
    whole = path.read_bytes()
    for length in (3 * len(whole) // 4, len(whole) // 2, 20):
        path.write_bytes(whole[:length])
        refused(path, "damaged or truncated")


@pytest.mark.parametrize("pixels", [COLOUR, GREY, GREY // 100])
def test_a_png_whose_pixels_do_not_fit_their_checksum_is_refused(tmp_path, pixels):
    path = saved(tmp_path / "a.png", pixels)
    whole = path.read_bytes()
    place = whole.index(b"IDAT") + 4
    length = struct.unpack_from(">I", whole, place - 8)[0]
    for at in range(place, place + length):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        refused(path, "damaged")


def test_the_ending_of_a_name_says_nothing(tmp_path):
    saved(tmp_path / "a.png", GREY).rename(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), GREY)
    for form in ("GIF", "PPM", "WEBP"):
        Image.fromarray(GREY).save(tmp_path / "c.png", form)
        refused(tmp_path / "c.png", "images are PNG, TIFF, BMP or JPEG")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_float_tiff(tmp_path, value):
    levels = np.linspace(0, 1, 35, dtype=np.float32).reshape(7, 5)
    path = saved(tmp_path / "a.tif", levels)
    np.testing.assert_allclose(read_image(path, white_level=1), levels * 255, rtol=1e-6)
    refused(path, "scale is unknown", "data.white_level")
    levels[3, 3] = value
    refused(saved(path, levels), "negative or non-finite", white_level=1)


def test_cmyk_and_lab_are_refused(tmp_path):
    for mode in ("CMYK", "LAB"):
        Image.new(mode, (5, 7)).save(tmp_path / "a.tif")
        refused(tmp_path / "a.tif", mode, "grey PNG")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit(tmp_path, suffix):
    bits = GREY > 127
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(read_image(path), bits * 255)
    np.testing.assert_array_equal(read_mask(path).nucleus, bits)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refused(tmp_path / "a.png", "not a regular file")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    refused(tmp_path / "b.png", "not a regular file")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    refused(tmp_path / "c.png", "cannot be opened")
