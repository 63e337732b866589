"""Images and masks of single cells, read from PNG and TIFF files, resized and stretched."""

import io
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from hep2gan.errors import Hep2ganError

GreyImage = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]

FORMATS = ("PNG", "TIFF")
SUFFIXES = (".png", ".tif", ".tiff")
"""File names of images; compared in lower case."""
MAX_PIXELS = 4096 * 4096
"""A cell crop has some 70 × 70 pixels: anything larger is not one, or is a decompression bomb."""
MAX_BYTES = 256 * 1024 * 1024

_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
_BEGINNINGS = (b"\x89PNG", b"II*\0", b"MM\0*")
_MIN_IS_WHITE, _PHOTOMETRIC = 0, 262
_PNG_SIGNATURE_BYTES = 8
_CHUNK_KIND = re.compile(rb"\w{4}")
_CHUNK_HEAD, _CHUNK_CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")


class GreyLevels(NamedTuple):
    """Grey levels that stored 0 and stored 255 represent, on the 0 to 255 scale.

    Attributes:
        lo: Grey level of stored 0.
        hi: Grey level of stored 255.
    """

    lo: float
    hi: float


class DecodedImage(NamedTuple):
    """One image in the units of its file.

    Attributes:
        values: float32 (h, w), finite and not negative.
        full_scale: Value of white: 255 or 65535; 0 if unknown (32-bit and float TIFF).
        depth_reduced: Whether the file is 16-bit colour, which Pillow reads at 8 bits.
    """

    values: npt.NDArray[np.float32]
    full_scale: int
    depth_reduced: bool


def read_image(path: Path, white_level: int | None = None) -> GreyImage:
    """Read one PNG or TIFF as grey levels.

    Args:
        path: The file.
        white_level: Value of a 16-bit, 32-bit or float file that maps to 255; None takes 65535 for
            16 bits. Choose 4095 for a 12-bit camera. 8-bit files keep their levels.

    Returns:
        float32 (h, w) on the 0 to 255 scale.

    Raises:
        Hep2ganError: For all that `decode_image` and `grey_levels` reject.
    """
    return grey_levels(path, decode_image(path), white_level)


def grey_levels(path: Path, decoded: DecodedImage, white_level: int | None = None) -> GreyImage:
    """Scale a decoded image to grey levels from 0 to 255.

    Args:
        path: The file, for messages.
        decoded: What `decode_image` returned.
        white_level: As in `read_image`.

    Returns:
        float32 (h, w) on the 0 to 255 scale.

    Raises:
        Hep2ganError: For values above `white_level`, 32-bit and float files without it, and 16-bit
            colour with it (which Pillow reads at 8 bits).
    """
    if decoded.full_scale == 255:
        if decoded.depth_reduced and white_level is not None:
            raise Hep2ganError(
                f"{path} is 16-bit colour, read at 8 bits",
                f"data.white_level={white_level} can only be kept to in 16-bit grey",
                "save it as 16-bit grey, or leave data.white_level out",
            )
        return decoded.values
    full_scale = white_level or decoded.full_scale
    if not full_scale:
        raise Hep2ganError(
            f"{path} holds 32-bit or float values",
            "their scale is unknown",
            "set data.white_level to the value that means white, or save it as 16-bit grey PNG",
        )
    peak = float(decoded.values.max())
    if peak > full_scale:
        raise Hep2ganError(
            f"{path} holds {peak:g}",
            f"data.white_level={full_scale} is the largest value",
            "choose a larger data.white_level",
        )
    return decoded.values * np.float32(255 / full_scale)


def read_mask(path: Path) -> ByteImage:
    """Read one binary mask: {0, 1}, {0, 255}, or 0 and one other value.

    A mask of zeros alone is accepted; the caller decides whether it may be empty.

    Args:
        path: The file.

    Returns:
        uint8 (h, w) of {0, 1}.

    Raises:
        Hep2ganError: For all that `decode_image` rejects, and for masks that are not binary.
    """
    decoded = decode_image(path)
    nucleus = decoded.values > 0
    peak, covered = decoded.values.max(), nucleus.all()
    binary = np.array_equal(decoded.values, nucleus * peak)
    if not binary or (covered and peak not in (1, decoded.full_scale)):
        values = np.unique(decoded.values)
        first = ", ".join(f"{value:g}" for value in values[:4]) + (" …" if len(values) > 4 else "")
        raise Hep2ganError(
            f"{path} is not binary ({len(values)} values: {first})",
            "a mask holds 0 and one other value",
            "save 0 for background and 255 for the nucleus, without antialiasing",
        )
    return nucleus.view(np.uint8)


def resize(image: GreyImage, size: int) -> GreyImage:
    """Resize an image, bilinearly in floating point, with antialiasing if it shrinks.

    Args:
        image: float32 (h, w).
        size: Side of the result in pixels.

    Returns:
        float32 (size, size).
    """
    grey = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.array(grey.resize((size, size), Image.Resampling.BILINEAR), np.float32)


def resize_mask(mask: ByteImage, size: int) -> ByteImage:
    """Resize a mask by the nearest pixel, so that it stays binary.

    Args:
        mask: uint8 (h, w).
        size: Side of the result in pixels.

    Returns:
        uint8 (size, size).
    """
    grey = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    return np.array(grey.resize((size, size), Image.Resampling.NEAREST), np.uint8)


def stretch(image: GreyImage) -> tuple[ByteImage, GreyLevels]:
    """Stretch grey levels to the full range of uint8.

    Dark images (the mean of the set is 12 % of full scale) thus keep all their levels. lo + stored
    / 255 · (hi − lo) restores them to within (hi − lo) / 510. A constant image becomes zeros.

    Args:
        image: float32 (h, w).

    Returns:
        uint8 (h, w), and the grey levels that 0 and 255 represent.
    """
    lo, hi = float(image.min()), float(image.max())
    if hi <= lo:
        return np.zeros(image.shape, np.uint8), GreyLevels(lo, lo)
    scaled = (image.astype(np.float64) - lo) * (255 / (hi - lo))
    return np.rint(scaled).astype(np.uint8), GreyLevels(lo, hi)


def decode_image(path: Path) -> DecodedImage:
    """Read one image as grey levels, oriented by its EXIF data; alpha is dropped.

    Colour becomes luma after ITU-R BT.601, not rounded.

    Args:
        path: The file.

    Returns:
        The image in the units of the file.

    Raises:
        Hep2ganError: The file is missing, empty, truncated, not a PNG or TIFF, too large, of
            several frames or of a mode without grey levels.
    """
    data = _read_bytes(path)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "PNG":
                check_png_checksums(data)
            _check_size(path, image)
            # Loading empties `tile`, turning loses the tags: depth and polarity are read before.
            depth_reduced = (
                any(";16" in str(tile[3]) for tile in image.tile) and image.mode[:2] != "I;"
            )
            # Pillow turns WhiteIsZero around at 8 bits, but not at 16.
            tags = getattr(image, "tag_v2", {})
            inverted = tags.get(_PHOTOMETRIC, 1) == _MIN_IS_WHITE
            image.load()
            # The orientation of a PNG, if any, is in the metadata that Pillow keeps in `info`.
            untagged = image.format == "PNG" and not image.info
            upright = image if untagged else ImageOps.exif_transpose(image)
            return _to_grey(path, upright, depth_reduced, inverted)
    except Hep2ganError:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(_BEGINNINGS):
            raise _damaged(path, "its header is incomplete") from error
        raise Hep2ganError(
            f"{path} cannot be read as an image",
            "images are PNG or TIFF",
            "save it as 8- or 16-bit grey PNG",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "is far too large") from error
    except Exception as error:  # damaged files raise nearly anything inside Pillow's readers
        raise _damaged(path, str(error)) from error


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            raise _too_large(path, f"has {status.st_size:,} bytes")
        # Reading a pipe would block, and reading a device would never end.
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Hep2ganError(
            f"{path} does not exist", "", "add the file or correct its name"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Hep2ganError(
            f"{path} cannot be opened ({reason})", "", "check the file and its permissions"
        ) from error
    if not data:
        raise Hep2ganError(f"{path} is empty", "a file of 0 bytes is no image", "copy it again")
    return data


def _damaged(path: Path, reason: str) -> Hep2ganError:
    return Hep2ganError(
        f"{path} is damaged or truncated ({reason})",
        "an image must be complete",
        "copy the file again from where it came",
    )


def _too_large(path: Path, problem: str) -> Hep2ganError:
    return Hep2ganError(
        f"{path} {problem}",
        f"one image is one cell, at most {MAX_PIXELS:,} pixels and {MAX_BYTES >> 20} MiB",
        "crop the cells out of it first",
    )


def _check_size(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"has {width} × {height} pixels")
    # Counting all frames of a hostile TIFF takes a minute; whether there is a second is cheap.
    if getattr(image, "is_animated", False):
        raise Hep2ganError(
            f"{path} holds several frames", "one file is one cell", "save each frame as a file"
        )


def _to_grey(path: Path, image: Image.Image, depth_reduced: bool, inverted: bool) -> DecodedImage:
    if image.mode in _EIGHT_BIT:
        if image.mode != "L":
            has_no_colour = image.mode in ("1", "LA")
            image = image.convert("L") if has_no_colour else image.convert("RGB").convert("F")
        return DecodedImage(np.asarray(image, np.float32), 255, depth_reduced)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float32)
        return DecodedImage(65535 - values if inverted else values, 65535, False)
    if image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise Hep2ganError(
                f"{path} holds negative or non-finite values",
                "grey levels are finite and not negative",
                "save it as 16-bit grey",
            )
        return DecodedImage(values, 0, False)
    raise Hep2ganError(
        f"{path} has the colour mode {image.mode}",
        "images are grey, RGB, RGBA or palette",
        "save it as 8- or 16-bit grey PNG",
    )


def check_png_checksums(data: bytes) -> None:
    """Check the checksum of each chunk of a PNG, and that the last chunk exists.

    Pillow does not check them when it reads pixels; its `verify` does, but requires opening the
    file a second time, which takes longer than decoding a cell.

    Args:
        data: Content of the file.

    Raises:
        ValueError: A checksum is wrong, or the file ends before its last chunk.
    """
    view, position = memoryview(data), _PNG_SIGNATURE_BYTES
    while position + _CHUNK_HEAD.size <= len(data):
        length, kind = _CHUNK_HEAD.unpack_from(data, position)
        end = position + _CHUNK_HEAD.size + length
        # The last chunk is empty; as Pillow has it, what follows its name does not count.
        if kind == b"IEND":
            return
        if not _CHUNK_KIND.fullmatch(kind):
            raise ValueError(f"it has an invalid chunk type {kind.decode('latin-1')!r}")
        if end + _CHUNK_CHECKSUM.size > len(data):
            break
        # Of the chunk's kind and content, but not of its length.
        if zlib.crc32(view[position + 4 : end]) != _CHUNK_CHECKSUM.unpack_from(data, end)[0]:
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        position = end + _CHUNK_CHECKSUM.size
    raise ValueError("it ends too early")
