"""One PNG or TIFF file to grey values, or an error that names the file and the fix."""

import io
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from hep2gan.data.readers.png_chunks import require_checksums
from hep2gan.errors import Hep2ganError

FORMATS = ("PNG", "TIFF")
SUFFIXES = (".png", ".tif", ".tiff")
"""File names of images; compared in lower case."""
MAX_PIXELS = 4096 * 4096
"""A cell crop has some 70 × 70 pixels: whatever is larger than this is no cell, or a bomb."""
MAX_BYTES = 256 * 1024 * 1024

_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
_BEGINNINGS = (b"\x89PNG", b"II*\0", b"MM\0*")
_MIN_IS_WHITE, _PHOTOMETRIC = 0, 262


class Decoded(NamedTuple):
    """One image in the units of its file.

    values: float32 (h, w), finite and not negative. full: the value that means white, 255 or
    65535; 0 where the file does not tell (32-bit and float TIFF). reduced: 16-bit colour, which
    Pillow reads at 8 bits.
    """

    values: npt.NDArray[np.float32]
    full: int
    reduced: bool


def decode(path: Path) -> Decoded:
    """Read one image as grey, upright after its EXIF orientation; alpha is dropped.

    Colour becomes ITU-R 601 luma, unrounded. Raises Hep2ganError when the file is missing, empty,
    truncated, no PNG or TIFF, too large, of several frames or of a mode without grey levels.
    """
    data = _bytes(path)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "PNG":
                require_checksums(data)
            _refuse(path, image)
            # Loading empties `tile`, turning loses the tags: depth and polarity are asked before.
            reduced = any(";16" in str(tile[3]) for tile in image.tile) and image.mode[:2] != "I;"
            inverted = _inverted(image)
            image.load()
            return _grey(path, _upright(image), reduced, inverted)
    except Hep2ganError:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(_BEGINNINGS):
            raise _damaged(path, "its header is not whole") from error
        raise Hep2ganError(
            f"{path} cannot be read as an image",
            "images are PNG or TIFF",
            "save it as 8- or 16-bit grey PNG",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "is far too large") from error
    except Exception as error:  # damaged files raise nearly anything inside Pillow's readers
        raise _damaged(path, str(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    # A PNG tells its orientation, if it does, in one of the notes that Pillow keeps here.
    plain = image.format == "PNG" and not image.info
    return image if plain else ImageOps.exif_transpose(image)


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            raise _too_large(path, f"has {status.st_size:,} bytes")
        # A pipe would be waited for, and a device read without end.
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no ordinary file")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Hep2ganError(
            f"{path} does not exist", "", "add the file or correct its name"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Hep2ganError(
            f"{path} cannot be opened ({reason})", "", "check it and its rights"
        ) from error
    if not data:
        raise Hep2ganError(f"{path} is empty", "a file of 0 bytes is no image", "copy it again")
    return data


def _damaged(path: Path, why: str) -> Hep2ganError:
    return Hep2ganError(
        f"{path} is damaged or truncated ({why})",
        "an image must be whole",
        "copy the file again from where it came",
    )


def _too_large(path: Path, what: str) -> Hep2ganError:
    rule = f"one image is one cell, at most {MAX_PIXELS:,} pixels and {MAX_BYTES >> 20} MiB"
    return Hep2ganError(f"{path} {what}", rule, "crop the cells out of it first")


def _refuse(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"has {width} × {height} pixels")
    # Counting them takes a minute in a TIFF made for it; whether there is a second is known.
    if getattr(image, "is_animated", False):
        raise Hep2ganError(
            f"{path} holds several frames", "one file is one cell", "save each frame as a file"
        )


def _grey(path: Path, image: Image.Image, reduced: bool, inverted: bool) -> Decoded:
    if image.mode in _EIGHT_BIT:
        grey = image if image.mode == "L" else _eight_bit_grey(image)
        return Decoded(np.asarray(grey, np.float32), 255, reduced)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float32)
        return Decoded(65535 - values if inverted else values, 65535, False)
    if image.mode in ("I", "F"):
        return Decoded(_finite(path, np.asarray(image, np.float32)), 0, False)
    raise Hep2ganError(
        f"{path} has the colour mode {image.mode}",
        "images are grey, RGB, RGBA or palette",
        "save it as 8- or 16-bit grey PNG",
    )


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    return image.convert("L") if image.mode in ("1", "LA") else image.convert("RGB").convert("F")


def _inverted(image: Image.Image) -> bool:
    # Pillow turns WhiteIsZero around at 8 bits, but not at 16.
    tags: Any = getattr(image, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC, 1) == _MIN_IS_WHITE)


def _finite(path: Path, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if np.isfinite(values).all() and (values >= 0).all():
        return values
    rule = "grey levels are finite and not negative"
    raise Hep2ganError(
        f"{path} holds negative or non-finite values", rule, "save it as 16-bit grey"
    )
