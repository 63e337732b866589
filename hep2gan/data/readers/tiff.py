"""What a TIFF file is by the tags of its first image, and which kinds are not read.

Pillow decodes the pixels. It takes some kinds for others without a word, so the tags decide first.
"""

import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

COLOURS = ("red", "green", "blue")
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_MAX_ENTRIES, _MAX_VALUES, _MAX_IMAGES = 4096, 1 << 18, 4096
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_STRIPS, _SAMPLES, _PLANAR, _COLOUR_MAP, _EXTRA, _FORMAT = 273, 277, 284, 320, 338, 339
_DEPTH, _ORIENTATION = 32997, 274
_USED = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _STRIPS, _SAMPLES),
    *(_PLANAR, _COLOUR_MAP, _EXTRA, _FORMAT, _DEPTH, _ORIENTATION),
}
_UNCOMPRESSED, _JPEG, _SEPARATE, _PREMULTIPLIED, _ALPHA = 1, 7, 2, 1, 2
_PLAIN_COMPRESSIONS = (_UNCOMPRESSED, 5, 8, 32773, 32946, 34925, 50000)
_READ_COMPRESSIONS = (_UNCOMPRESSED, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000)
_COMPRESSION_NAMES = {
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **{6: "old-style JPEG", 34887: "LERC", 34933: "PNG", 50001: "WebP"},
}
_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_CHANNELS = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _YCBCR: 3}
"""Samples of a pixel, without alpha, of each photometric interpretation that is read."""
_COLOUR_NAMES = {5: "CMYK", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "CFA", 34892: "raw"}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_FORMAT_NAMES = {
    **{_UNSIGNED: "unsigned integers", _SIGNED: "signed integers", _FLOAT: "floats"},
    **{5: "complex integers", 6: "complex floats"},
}
_READ_BITS = {_UNSIGNED: (1, 2, 4, 8, 12, 16, 32), _SIGNED: (8, 16, 32), _FLOAT: (32, 64)}
_CLAIM = re.compile(rb'ImageJ=[^\0]*?\nimages=(\d+)|{"shape": \[([\d, ]+)\]')


class TiffHeader(NamedTuple):
    """The first image of a TIFF file.

    Attributes:
        tags: Numbers of each tag that holds whole numbers or text.
        kind: First four bytes of the file.
        planes: Number of planes behind this one header, as ImageJ and tifffile write them.
        images: Number of images with a header of their own; no more than 4096 are counted.
    """

    tags: dict[int, tuple[int, ...]]
    kind: bytes
    planes: int = 1
    images: int = 1

    @classmethod
    def read(cls, data: bytes) -> "TiffHeader":
        """Read the tags of the first image.

        Args:
            data: Content of the file.

        Returns:
            The header.

        Raises:
            ValueError: The header is incomplete.
        """
        order, big = "<" if data[:1] == b"I" else ">", b"+" in data[:4]
        number, offset = (order + letter for letter in ("QQ" if big else "HI"))
        width, entry = (8, 20) if big else (4, 12)
        try:
            (place,) = struct.unpack_from(offset, data, width)
            (entries,) = struct.unpack_from(number, data, place)
            first = place + struct.calcsize(number)
            places = range(first, first + entry * min(entries, _MAX_ENTRIES), entry)
            tags = _read_tags(data, places, order, width)
        except struct.error as error:
            raise ValueError("its header is incomplete") from error
        header = cls(tags, data[:4], images=sum(1 for _ in _links(data)) or 1)
        return header._replace(planes=header._count_planes(len(data)))

    def _first(self, tag: int, default: int = 0) -> int:
        return (self.tags.get(tag) or (default,))[0]

    @property
    def white_is_zero(self) -> bool:
        """Whether the file says that its zeros are white."""
        return self._first(_PHOTOMETRIC) == _WHITE_IS_ZERO

    @property
    def is_premultiplied(self) -> bool:
        """Whether its colours are multiplied by its alpha."""
        return self._first(_EXTRA) == _PREMULTIPLIED

    @property
    def is_unsigned(self) -> bool:
        """Whether its values are integers without a sign."""
        return self._first(_FORMAT, _UNSIGNED) == _UNSIGNED

    @property
    def is_signed(self) -> bool:
        """Whether its values are signed integers."""
        return self._first(_FORMAT, _UNSIGNED) == _SIGNED

    @property
    def full_scale(self) -> int:
        """Value of white as Pillow reads it; 0 if unknown, as for signed and 32-bit values."""
        bits = self._first(_BITS, 1)
        return max(255, 2**bits - 1) if self.is_unsigned and bits <= 16 else 0

    @property
    def colour_map(self) -> tuple[int, ...]:
        """The reds, then the greens, then the blues of a palette, from 0 to 255."""
        colours = self.tags.get(_COLOUR_MAP, ())
        # They have 16 bits, but some programs write 8.
        return colours if max(colours, default=0) < 256 else tuple(c >> 8 for c in colours)

    @property
    def description(self) -> str:
        """The text in which programs say what the images of the file are."""
        return bytes(self.tags.get(_DESCRIPTION, ())).rstrip(b"\0").decode("utf-8", "replace")

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of the samples of a pixel without alpha, '' where the file gives none."""
        colour, number = self._first(_PHOTOMETRIC), self._first(_SAMPLES, 1)
        if colour == _PALETTE:
            return COLOURS
        number -= number > 1 and self._has_alpha
        names = COLOURS[:number] if colour in (_RGB, _YCBCR) else ()
        return (*names, *[""] * (number - len(names)))

    @property
    def _has_alpha(self) -> bool:
        expected = _CHANNELS.get(self._first(_PHOTOMETRIC), 0) + 1
        extra = self._first(_EXTRA)
        return self._first(_SAMPLES, 1) == expected and extra in (_PREMULTIPLIED, _ALPHA)

    @property
    def is_upright(self) -> bool:
        """Whether no orientation tag turns the image."""
        return self._first(_ORIENTATION, 1) == 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self._first(_WIDTH), self._first(_HEIGHT)

    @property
    def has_unread_samples(self) -> bool:
        """Whether its pixels have several samples, plain ones, that Pillow does not read."""
        return bool(
            self._first(_SAMPLES, 1) > 1
            and self._first(_PHOTOMETRIC) in (1, _RGB)
            and self._first(_COMPRESSION, _UNCOMPRESSED) in _PLAIN_COMPRESSIONS
            and self._first(_BITS, 1) in (8, 16, 32)
            and self.is_upright
            and self.unread_kind()
        )

    @property
    def is_stack(self) -> bool:
        """Whether one of several channels or planes must be chosen."""
        is_flat = self._first(_DEPTH, 1) == 1
        return is_flat and (max(self.planes, self.images) > 1 or self.has_unread_samples)

    def image_alone(self, data: bytes, index: int) -> bytes:
        """Return the file as if one of its images were the only one.

        Args:
            data: Content of the file.
            index: Number of the image, from 0, below `images`.

        Returns:
            The content with the first link to that image, and none from there.
        """
        order, big = "<" if data[:1] == b"I" else ">", b"+" in data[:4]
        letter, start = order + ("Q" if big else "I"), 8 if big else 4
        *_, (place, link) = islice(_links(data), index + 1)
        alone = bytearray(data)
        struct.pack_into(letter, alone, start, place)
        struct.pack_into(letter, alone, link, 0)
        return bytes(alone)

    def plane_behind(self, data: bytes, index: int) -> npt.NDArray[Any] | None:
        """Read one of the planes behind the one header of an uncompressed file.

        Args:
            data: Content of the file.
            index: Number of the plane, from 0, below `planes`.

        Returns:
            (h, w), or (h, w, 3) colours; None if the file is of a kind that is not read so.
        """
        shape = (self._first(_HEIGHT), self._first(_WIDTH), self._first(_SAMPLES, 1))
        kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}.get(self._first(_FORMAT, _UNSIGNED))
        bits = self._first(_BITS, 1)
        is_plain = self._first(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED and self.is_upright
        is_plain = is_plain and self._first(_DEPTH, 1) == 1
        is_flat = shape[2] == 1 or (shape[2] == 3 and self._first(_PLANAR) != _SEPARATE)
        if not (kind and bits in (8, 16, 32) and is_plain and is_flat):
            return None
        dtype = np.dtype(f"{'<' if data[:1] == b'I' else '>'}{kind}{bits // 8}")
        start = self._first(_STRIPS) + index * math.prod(shape) * dtype.itemsize
        values = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
        native = values.astype(dtype.newbyteorder("="))
        return native[..., 0] if shape[2] == 1 else native

    def unread_kind(self) -> str:
        """Say what the file is if it is of a kind that is not read.

        Returns:
            What it is, to follow 'is a TIFF'; '' if it is read.
        """
        return next(self._obstacles(), "")

    def describe(self) -> str:
        """Describe the numbers of the file, to follow 'is a TIFF'."""
        name = _FORMAT_NAMES.get(self._first(_FORMAT, _UNSIGNED), "numbers of another kind")
        samples, colour = self._first(_SAMPLES, 1), self._first(_PHOTOMETRIC)
        channels = f" in {samples} channels" if samples > 1 else ""
        white = ", where 0 is white" if self.white_is_zero else ""
        palette = " with a palette" if colour == _PALETTE else ""
        return f"of {self._first(_BITS, 1)}-bit {name}{channels}{palette}{white}"

    def _obstacles(self) -> Iterator[str]:
        number, bits = self._first(_FORMAT, _UNSIGNED), self._first(_BITS, 1)
        colour, compression = self._first(_PHOTOMETRIC), self._first(_COMPRESSION, _UNCOMPRESSED)
        samples = self._first(_SAMPLES, 1)
        is_separate = samples > 1 and self._first(_PLANAR) == _SEPARATE
        channels, has_alpha = _CHANNELS.get(colour, 0), self._has_alpha
        if (depth := self._first(_DEPTH, 1)) > 1:
            yield f"of {depth} planes in depth"
        if (planes := max(self.planes, self.images)) > 1:
            yield f"of {planes} planes"
        if compression not in _READ_COMPRESSIONS:
            name = _COMPRESSION_NAMES.get(compression, f"kind {compression}")
            yield f"of compression {name}"
        if not channels:
            yield f"of {_COLOUR_NAMES.get(colour, f'photometric kind {colour}')} colours"
        if samples != channels and not has_alpha:
            yield f"of {samples} channels"
        if colour == _YCBCR and compression != _JPEG:
            yield "of YCbCr colours without JPEG compression"
        if compression == _JPEG and bits != 8:
            yield f"of {bits}-bit JPEG"
        bits_read = _READ_BITS.get(number, ()) if samples == 1 else (8, 16)
        if bits not in bits_read or (samples > 1 and number != _UNSIGNED):
            yield self.describe()
        if is_separate and (bits != 8 or has_alpha):
            yield f"of {samples} separate {bits}-bit planes"
        if self.kind == b"MM\0+":
            yield "in big-endian BigTIFF"
        if self.white_is_zero and not self.full_scale:
            yield self.describe()

    def _count_planes(self, length: int) -> int:
        plane = self._first(_WIDTH) * self._first(_HEIGHT) * self._first(_SAMPLES, 1)
        claim = _CLAIM.match(bytes(self.tags.get(_DESCRIPTION, ())))
        if claim is None or not plane:
            return 1
        images, shape = claim.groups()
        planes = int(images) if images else math.prod(map(int, shape.split(b","))) // plane
        # A page that was cut out of such a file may claim planes that it no longer holds.
        end = self._first(_STRIPS) + planes * plane * self._first(_BITS, 1) // 8
        return planes if end <= length else 1


def _links(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each image's header begins and where its link to the next one lies."""
    order, big = "<" if data[:1] == b"I" else ">", b"+" in data[:4]
    number, offset = (order + letter for letter in ("QQ" if big else "HI"))
    entry, link = (20, 8) if big else (12, 4)
    for _ in range(_MAX_IMAGES):
        try:
            (place,) = struct.unpack_from(offset, data, link)
        except struct.error:
            return
        if not place:
            return
        link = len(data)
        with suppress(struct.error):  # Whoever reads such an image says that it is damaged.
            (entries,) = struct.unpack_from(number, data, place)
            link = place + struct.calcsize(number) + entry * entries
        yield place, link


def _read_tags(data: bytes, places: range, order: str, width: int) -> dict[int, tuple[int, ...]]:
    """Read the tags of `_USED` from the entries at these places; of a repeated one the first."""
    letter, tags = "I" if width == 4 else "Q", dict[int, tuple[int, ...]]()
    for place in places:
        tag, kind, number = struct.unpack_from(f"{order}HH{letter}", data, place)
        if tag in _USED - tags.keys() and kind in _LETTERS:
            values, start = f"{order}{min(number, _MAX_VALUES)}{_LETTERS[kind]}", place + 4 + width
            if struct.calcsize(values) > width:
                (start,) = struct.unpack_from(order + letter, data, start)
            tags[tag] = struct.unpack_from(values, data, start)
    return tags
