"""Decoding of image files: each pixel as it is stored, or a refusal that says why."""

import io
import re
import stat
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from hep2gan.data.readers.stack import PlaneChoice, Stack, find_channel, read_sample
from hep2gan.data.readers.tiff import COLOURS, SIGNATURES, TiffHeader
from hep2gan.errors import Hep2ganError

FORMATS = ("PNG", "TIFF", "BMP", "JPEG")
MAX_PIXELS = 4096 * 4096
"""A cell crop has some 70 × 70 pixels: anything larger is not one, or is a decompression bomb."""
MAX_BYTES = 256 * 1024 * 1024

_LUMA = np.array([299, 587, 114])
_PNG_BEGINNING, _PNG_SIGNATURE_BYTES = b"\x89PNG", 8
_CHUNK_KIND = re.compile(rb"\w{4}")
_CHUNK_HEAD, _CHUNK_CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

# Kinds of TIFF that Pillow can decode but does not list.
TiffImagePlugin.OPEN_INFO |= {
    (b"II", 1, (3,), 1, (64,), ()): ("F", "F;64F"),
    (b"MM", 1, (3,), 1, (64,), ()): ("F", "F;64BF"),
    (b"MM", 1, (1,), 1, (32,), ()): ("I", "I;32B"),
    (b"MM", 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    **{
        (o, white, (1,), 1, (12,), ()): ("I;16", "I;12") for o in (b"II", b"MM") for white in (0, 1)
    },
}


class Pixels(NamedTuple):
    """The pixels of one file as they are stored.

    Attributes:
        stored: (h, w) values or indices of a palette, or (h, w, 3) colours.
        full_scale: Value of white; 0 if unknown.
        alpha: (h, w) opacity; None without.
        palette: (n, 3) colours of the indices, 0 to 255; None without.
        white_is_zero: Whether the file says that its zeros are white.
        is_lossy: Whether the file is a JPEG, whose values are near those that were saved.
    """

    stored: npt.NDArray[Any]
    full_scale: int
    alpha: npt.NDArray[Any] | None = None
    palette: npt.NDArray[np.uint8] | None = None
    white_is_zero: bool = False
    is_lossy: bool = False

    def only(self, path: Path, channel: int | str) -> "Pixels":
        """Keep one channel.

        Args:
            path: The file, for messages.
            channel: Its number or name: red, green or blue; 0 if it is grey.

        Returns:
            The pixels, as grey.

        Raises:
            Hep2ganError: There is no such channel.
        """
        values = self.stored if self.palette is None else self.palette[self.stored]
        index = find_channel(path, COLOURS if values.ndim == 3 else ("",), channel)
        values = values[..., index] if values.ndim == 3 else values
        return self._replace(stored=values, palette=None)

    def grey(self) -> npt.NDArray[np.float32]:
        """Compute grey values: palette looked up, colours as luma after ITU-R BT.601, not rounded.

        Returns:
            float32 (h, w), where white is `full_scale`.
        """
        values = self.stored if self.palette is None else self.palette[self.stored]
        if values.ndim == 3:
            # In whole numbers up to the division, so that grey colours keep their value.
            values = (values @ _LUMA) / 1000
        if self.white_is_zero:
            values = self.full_scale - values.astype(np.float32)
        return values.astype(np.float32)


def read_pixels(path: Path, choice: PlaneChoice | None = None) -> Pixels:
    """Read one image as it is stored, turned upright by its orientation tag.

    Args:
        path: The file.
        choice: The channel and the plane to read; None for files with no such choice, as masks.

    Returns:
        The pixels.

    Raises:
        Hep2ganError: The file is missing, empty, truncated, no image, too large, of a kind that is
            not read, or without the channel or plane that is chosen.
    """
    data, tiff = _read_bytes(path), None
    try:
        if data.startswith(SIGNATURES):
            tiff = TiffHeader.read(data)
            if choice is not None and (tiff.is_stack or any(c is not None for c in choice)):
                return _read_plane(path, data, tiff, choice)
            if kind := tiff.unread_kind():
                raise _unread(path, f"is a TIFF {kind}")
        pixels = _decode(path, data, tiff)
        if choice is None or choice == PlaneChoice():
            return pixels
        Stack(("",)).choose(path, PlaneChoice(plane=choice.plane))
        return pixels if choice.channel is None else pixels.only(path, choice.channel)
    except Hep2ganError:
        raise
    except UnidentifiedImageError as error:
        if tiff is not None:
            raise _unread(path, f"is a TIFF {tiff.describe()}") from error
        if data.startswith(_PNG_BEGINNING):
            raise _damaged(path, "its header is incomplete") from error
        raise Hep2ganError(
            f"{path} cannot be read as an image",
            "images are PNG, TIFF, BMP or JPEG",
            "save it as 8- or 16-bit grey PNG",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "is far too large") from error
    except Exception as error:  # damaged files raise nearly anything inside Pillow's readers
        raise _damaged(path, str(error)) from error


def _read_plane(path: Path, data: bytes, tiff: TiffHeader, choice: PlaneChoice) -> Pixels:
    """Read the chosen channel and plane of a TIFF file."""
    stack = Stack.read(tiff)
    index, sample = stack.choose(path, choice)
    if tiff.planes > tiff.images:
        if (values := tiff.plane_behind(data, index)) is None:
            raise _unread(path, f"is a TIFF {tiff.unread_kind()}")
        pixels = Pixels(values, tiff.full_scale, white_is_zero=tiff.white_is_zero)
        return pixels if sample is None else pixels.only(path, sample)
    if tiff.images > 1:
        data = tiff.image_alone(data, index)
        tiff = TiffHeader.read(data)
    tiff = tiff._replace(planes=1)
    if tiff.has_unread_samples:
        if sample is None:
            raise stack.must_choose(path)
        _check_pixels(path, *tiff.size)
        return Pixels(read_sample(path, data, sample), tiff.full_scale)
    if kind := tiff.unread_kind():
        raise _unread(path, f"is a TIFF {kind}")
    pixels = _decode(path, data, tiff)
    return pixels if sample is None else pixels.only(path, sample)


def _decode(path: Path, data: bytes, tiff: TiffHeader | None) -> Pixels:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format == "PNG":
            check_png_checksums(data)
        if image.mode == "CMYK" and tiff is None:
            raise _unread(path, "is a JPEG of CMYK colours")
        is_lossy = image.format in ("JPEG", "MPO")
        _check_size(path, image)
        # Loading empties `tile`, so all that it says is read before.
        raw, mode = _raw_mode(image.tile[0]), image.mode
        if raw == "LA;16B":
            raise _unread(path, "is a PNG of 16-bit grey with alpha")
        if image.tile[0].codec_name == "libtiff" and raw[:1] in "IF":
            # Pillow takes its values for those of the file, but they have the machine's byte order.
            image.tile = [_with_raw_mode(image.tile[0], raw.replace("B", "N"))]
        stored = _load(image)
        colours = image.getpalette() if mode in ("P", "PA") else None
        transparent = image.info.get("transparency") if mode == "P" else None
    is_deep = ";16" in raw and not raw.startswith("BGR")  # A BMP of 16 bits has 5 or 6 a colour.
    if mode[:3] == "RGB" and is_deep:
        # Pillow keeps the upper byte of 16-bit colours; the lower one is read in its place.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            other = raw[:-1] + _OTHER_BYTE[raw[-1]]
            image.tile = [_with_raw_mode(tile, other) for tile in image.tile]
            stored = stored * np.uint16(256) + _load(image)
    full_scale = tiff.full_scale if tiff else 65535 if is_deep else 255
    if mode == "1":
        stored = stored * np.uint8(255)
    alpha = stored[..., -1] if stored.ndim == 3 and stored.shape[2] != 3 else None
    if alpha is not None:
        stored = stored[..., 0] if stored.shape[2] == 2 else stored[..., :3]
    if transparent is not None:
        alpha = _palette_alpha(transparent)[stored]
    palette = None if colours is None else _palette(colours, tiff)
    if tiff is None:
        return Pixels(stored, full_scale, alpha, palette, is_lossy=is_lossy)
    if alpha is not None and tiff.is_premultiplied and alpha.min() < full_scale:
        raise _unread(path, "is a TIFF of premultiplied alpha")
    if mode == "I" and tiff.is_unsigned:
        stored = stored.view(np.uint32)
    if mode == "L" and tiff.is_signed:
        stored = stored.view(np.int8)
    if tiff.white_is_zero and full_scale == 255:
        stored = 255 - stored  # Pillow has turned these around, but not those of 16 bits.
    return Pixels(stored, full_scale, alpha, palette, tiff.white_is_zero)


def _palette(colours: list[int], tiff: TiffHeader | None) -> npt.NDArray[np.uint8]:
    """Return 256 colours; those that the file lacks are black."""
    table = np.reshape(colours, (-1, 3)) if tiff is None else np.reshape(tiff.colour_map, (3, -1)).T
    return np.pad(table, ((0, 256 - len(table)), (0, 0))).astype(np.uint8)


def _palette_alpha(transparent: bytes | int) -> npt.NDArray[np.uint8]:
    """Return the opacity of 256 indices: of the first ones as bytes, or 0 of one index."""
    alpha = np.full(256, 255, np.uint8)
    if isinstance(transparent, int):
        alpha[transparent] = 0
    else:
        alpha[: len(transparent)] = np.frombuffer(transparent, np.uint8)
    return alpha


def _load(image: Image.Image) -> npt.NDArray[Any]:
    image.load()
    # The orientation of a PNG, if any, is in the metadata that Pillow keeps in `info`.
    untagged = image.format == "PNG" and not image.info
    return np.asarray(image if untagged else ImageOps.exif_transpose(image))


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _with_raw_mode(tile: Any, raw: str) -> Any:
    return tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))


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


def _unread(path: Path, kind: str) -> Hep2ganError:
    return Hep2ganError(
        f"{path} {kind}",
        "images have one plane, grey, RGB or palette, in plain numbers and compression",
        "save the plane that shows the cell as 8- or 16-bit grey PNG",
    )


def _check_size(path: Path, image: Image.Image) -> None:
    _check_pixels(path, *image.size)
    # Counting all frames of a hostile TIFF takes a minute; whether there is a second is cheap.
    if getattr(image, "is_animated", False):
        raise Hep2ganError(
            f"{path} holds several frames", "one file is one cell", "save each frame as a file"
        )


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"has {width} × {height} pixels")


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
