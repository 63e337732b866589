"""Images and masks of cells: reading, resizing, and stretching to 8 bits without loss of levels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.decoding import Decoded, decode
from hep2gan.errors import Hep2ganError

Grey = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class Levels(NamedTuple):
    """Grey levels (0..255 scale) that stored 0 and stored 255 stand for."""

    lo: float
    hi: float


def read_image(path: Path, white: int | None = None) -> Grey:
    """Read one PNG or TIFF as float32 (h, w) grey levels on the 0..255 scale.

    `white` is the value of a 16-bit (or 32-bit, or float) file that maps to 255; 65535 for 16 bits
    unless given (4095 for a 12-bit camera). 8-bit files keep their levels whatever it is.
    Raises Hep2ganError for all that `decode` refuses, for values above `white`, for 32-bit and
    float files without `white`, and for 16-bit colour with it (Pillow reads that at 8 bits).
    """
    return grey_levels(path, decode(path), white)


def grey_levels(path: Path, decoded: Decoded, white: int | None = None) -> Grey:
    """Scale what `decode` read to 0..255; see `read_image`."""
    if decoded.full == 255:
        if decoded.reduced and white is not None:
            rule = f"data.white={white} can only be kept to in 16-bit grey"
            fix = "save it as 16-bit grey, or leave data.white out"
            raise Hep2ganError(f"{path} is 16-bit colour, read at 8 bits", rule, fix)
        return decoded.values
    full = white or decoded.full
    if not full:
        fix = "set data.white to the value that means white, or save it as 16-bit grey PNG"
        raise Hep2ganError(f"{path} holds 32-bit or float values", "their scale is unknown", fix)
    peak = float(decoded.values.max())
    if peak > full:
        fix = "choose a larger data.white"
        raise Hep2ganError(f"{path} holds {peak:g}", f"data.white={full} is the largest value", fix)
    return decoded.values * np.float32(255 / full)


def read_mask(path: Path) -> Bytes:
    """Read one mask as uint8 (h, w) of {0, 1}.

    The file must be binary: {0, 1}, {0, 255} or 0 and one other value. A file of zeros alone is
    read (an empty mask); whether that is allowed is the caller's to say.
    Raises Hep2ganError for all that `decode` refuses and for masks that are not binary.
    """
    decoded = decode(path)
    nucleus = decoded.values > 0
    peak, covered = decoded.values.max(), nucleus.all()
    binary = np.array_equal(decoded.values, nucleus * peak)
    if not binary or (covered and peak not in (1, decoded.full)):
        values = np.unique(decoded.values)
        shown = ", ".join(f"{value:g}" for value in values[:4]) + (" …" if len(values) > 4 else "")
        fix = "save 0 for background and 255 for the nucleus, without antialiasing"
        fact = f"{path} is not binary ({len(values)} values: {shown})"
        raise Hep2ganError(fact, "a mask holds 0 and one other value", fix)
    return nucleus.view(np.uint8)


def resize(image: Grey, size: int) -> Grey:
    """Resize (h, w) to (size, size): bilinear, antialiased when it shrinks, in float."""
    grey = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.array(grey.resize((size, size), Image.Resampling.BILINEAR), np.float32)


def resize_mask(mask: Bytes, size: int) -> Bytes:
    """Resize a (h, w) mask to (size, size) by the nearest pixel; it stays binary."""
    grey = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    return np.array(grey.resize((size, size), Image.Resampling.NEAREST), np.uint8)


def stretch(image: Grey) -> tuple[Bytes, Levels]:
    """Stretch grey levels to the whole of uint8, and say which levels 0 and 255 stand for.

    Dark images (the set's mean is 12 % of full scale) so keep all their levels: undone by
    lo + stored / 255 · (hi − lo) to within (hi − lo) / 510. A constant image becomes zeros.
    """
    lo, hi = float(image.min()), float(image.max())
    if hi <= lo:
        return np.zeros(image.shape, np.uint8), Levels(lo, lo)
    scaled = (image.astype(np.float64) - lo) * (255 / (hi - lo))
    return np.rint(scaled).astype(np.uint8), Levels(lo, hi)
