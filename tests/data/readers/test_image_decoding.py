import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from hep2gan.data.readers import image
from hep2gan.data.readers.image import decode_image
from hep2gan.errors import Hep2ganError

GREY = np.random.default_rng(0).integers(0, 256, (7, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (7, 5, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (7, 5), dtype=np.uint16)


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_8_bit_files_keep_their_grey_levels(tmp_path, suffix, mode):
    decoded = decode_image(saved(tmp_path / f"a.{suffix}", GREY, mode))
    np.testing.assert_array_equal(decoded.values, GREY)
    assert (decoded.values.dtype, decoded.full_scale, decoded.depth_reduced) == (
        np.float32,
        255,
        False,
    )


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


def test_16_bit_colour_is_told_from_8_bit(tmp_path):
    rgb = np.arange(18, dtype=">u2").reshape(2, 3, 3) * 3000
    path = tmp_path / "a.png"
    path.write_bytes(png(rgb, depth=16, kind=2))
    decoded = decode_image(path)
    assert decoded.depth_reduced
    assert decoded.full_scale == 255
    assert not decode_image(saved(tmp_path / "b.png", COLOUR)).depth_reduced


def png(array: np.ndarray, depth: int, kind: int) -> bytes:
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
    refused(tmp_path / "text.png", "PNG or TIFF")
    saved(tmp_path / "photo.jpg", GREY)
    refused(tmp_path / "photo.jpg", "PNG or TIFF")


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
    for name in ("a.tif", "a.png"):
        frame.save(tmp_path / name, save_all=True, append_images=[Image.fromarray(255 - GREY)])
        refused(tmp_path / name, "several frames")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(np.zeros((1, 1), np.uint8), 8, 0))
    data = bytearray((tmp_path / "a.png").read_bytes())
    for side, said in ((5000, "5000 × 5000 pixels"), (60000, "too large")):
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "b.png").write_bytes(data)
        refused(tmp_path / "b.png", said)
    monkeypatch.setattr(image, "MAX_BYTES", 10)
    refused(tmp_path / "a.png", "bytes")


def test_modes_without_grey_levels_are_refused(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "CMYK")
    for value in (np.nan, np.inf):
        saved(tmp_path / "b.tif", np.array([[0.5, value]], np.float32))
        refused(tmp_path / "b.tif", "non-finite")
    saved(tmp_path / "c.tif", np.array([[-1, 4]], np.int32))
    refused(tmp_path / "c.tif", "negative")
