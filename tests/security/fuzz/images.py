"""Images and masks as bytes: PNG with checksums broken or made right again, TIFF, JPEG, BMP."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from hypothesis import strategies as st
from PIL import Image

from hep2gan.data.fields.labels import MAX_LABEL, read_labels
from hep2gan.data.fields.regions import find_regions
from hep2gan.data.readers.image import read_image
from hep2gan.data.readers.mask import read_mask
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated

GREY = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (9, 7), dtype=np.uint16)
MASK = np.where(GREY > 100, 255, 0).astype(np.uint8)


def _bytes(array: npt.NDArray[Any], form: str, mode: str = "", **options: Any) -> bytes:
    image, file = Image.fromarray(array), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def _orientation() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


PNG = (
    *(_bytes(GREY, "PNG", mode) for mode in ("L", "RGB", "RGBA", "P", "LA", "1")),
    *(_bytes(DEEP, "PNG"), _bytes(GREY, "PNG", exif=_orientation())),
    _bytes(GREY, "PNG", save_all=True, append_images=[Image.fromarray(MASK)]),
)
TIFF = (
    *(_bytes(GREY, "TIFF", mode) for mode in ("L", "RGB", "RGBA", "P", "1", "CMYK")),
    *(_bytes(GREY, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "packbits")),
    *(_bytes(DEEP, "TIFF"), _bytes(GREY.astype(np.float32), "TIFF")),
    *(_bytes(GREY, "TIFF", exif=_orientation()), _bytes(GREY, "TIFF", compression="jpeg")),
)
JPEG_BMP = (
    *(_bytes(GREY, "JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(_bytes(GREY, "JPEG", progressive=True), _bytes(GREY, "JPEG", exif=_orientation())),
    *(_bytes(GREY, "BMP", mode) for mode in ("L", "RGB", "RGBA", "P", "1")),
)
PLANES = np.random.default_rng(2).integers(0, 65536, (2, 3, 9, 7), dtype=np.uint16)


def _stack(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PLANES, **options)
    return file.getvalue()


STACKS = (
    _stack(ome=True, metadata={"axes": "ZCYX", "Channel": {"Name": ["A", "B", "C"]}}),
    _stack(imagej=True, metadata={"axes": "ZCYX"}),
    _stack(photometric="minisblack", metadata=None, compression="zlib"),
)
MASKS = (_bytes(MASK, "PNG"), _bytes(MASK, "TIFF"), _bytes(MASK // 255, "PNG", "L"))
MASKS += (_bytes(MASK, "JPEG"), _bytes(MASK, "BMP"))


def resealed(data: bytes) -> bytes:
    """The PNG with the right checksum behind each chunk, so that readers get to its content."""
    whole, at = bytearray(data), 8
    while at + 12 <= len(whole):
        end = at + 8 + struct.unpack_from(">I", whole, at)[0]
        if end + 4 > len(whole):
            break
        struct.pack_into(">I", whole, end, zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


def _read_image(data: bytes, folder: Path) -> npt.NDArray[np.float32]:
    (folder / "a.png").write_bytes(data)
    return read_image(folder / "a.png", white_level=None)


def _read_plane(data: bytes, folder: Path) -> npt.NDArray[np.float32]:
    (folder / "a.tif").write_bytes(data)
    return read_image(folder / "a.tif", channel=1, plane=1)


def _is_an_image(image: npt.NDArray[np.float32], _: bytes) -> None:
    assert image.dtype == np.float32
    assert image.ndim == 2
    assert 0 < image.size <= 4096 * 4096
    assert np.isfinite(image).all()
    assert 0 <= image.min() <= image.max() <= 255


def _is_the_seed(image: npt.NDArray[np.float32], data: bytes) -> None:
    """Broken checksums must be noticed: what is read is what one of the seeds holds."""
    _is_an_image(image, data)
    assert any(np.array_equal(image, seed) for seed in SEEDS), "silently another image"


SEEDS = [np.asarray(image, np.float32) for image in (GREY, MASK, np.rot90(GREY, -1))]
SEEDS += [(DEEP * np.float32(255 / 65535)).astype(np.float32)]
SEEDS += [np.asarray(Image.fromarray(GREY).convert("1").convert("L"), np.float32)]


def _read_mask(data: bytes, folder: Path) -> npt.NDArray[np.uint8]:
    (folder / "m.png").write_bytes(data)
    return read_mask(folder / "m.png").nucleus


def _is_binary(mask: npt.NDArray[np.uint8], _: bytes) -> None:
    assert mask.dtype == np.uint8
    assert mask.ndim == 2
    assert mask.max() <= 1


NUMBERS = np.kron(np.arange(6, dtype=np.uint16).reshape(2, 3), np.ones((5, 4), np.uint16))
LABELS = (_bytes(NUMBERS, "PNG"), _bytes(NUMBERS, "TIFF"), _bytes(NUMBERS.astype(np.uint8), "BMP"))
LABELS += (_bytes(NUMBERS.astype(np.int32), "TIFF"), *MASKS)


def _read_labels(data: bytes, folder: Path) -> npt.NDArray[np.int32]:
    (folder / "l.png").write_bytes(data)
    labels = read_labels(folder / "l.png")
    find_regions(labels)
    return labels


def _are_labels(labels: npt.NDArray[np.int32], _: bytes) -> None:
    assert labels.dtype == np.int32
    assert labels.ndim == 2
    assert 0 <= labels.min() <= labels.max() <= MAX_LABEL


png = st.one_of(mutated(PNG).map(resealed), mutated(PNG + TIFF))
DOORS = (
    Door("png", png, _read_image, _is_an_image),
    Door("png_sealed", mutated(PNG), _read_image, _is_the_seed),
    Door("tiff", mutated(TIFF), _read_image, _is_an_image),
    Door("jpeg_bmp", mutated(JPEG_BMP), _read_image, _is_an_image),
    Door("stack", mutated(STACKS), _read_plane, _is_an_image),
    Door("mask", mutated(MASKS), _read_mask, _is_binary),
    Door("label_image", mutated(LABELS), _read_labels, _are_labels),
)
