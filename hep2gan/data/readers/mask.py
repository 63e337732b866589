"""Masks of single cells: which pixels of a file are the nucleus."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.decoding import read_pixels
from hep2gan.data.readers.image import ByteImage
from hep2gan.errors import Hep2ganError

MAX_BETWEEN = 0.05
"""Of masks of 40 to 60 px, 3 % of the pixels lie between at JPEG's quality 10, none at 75; of masks
that were resized, 8 % and more."""


class Mask(NamedTuple):
    """The nucleus as the stored values of a file have it: all that is not 0.

    Attributes:
        nucleus: uint8 (h, w) of {0, 1}.
        doubt: What in the file says that the zeros are the nucleus; '' if nothing does.
        way: How the file was read if not by its colours, to follow the number of such masks.
    """

    nucleus: ByteImage
    doubt: str = ""
    way: str = ""


def read_mask(path: Path) -> Mask:
    """Read one binary mask: {0, 1}, {0, 255}, or 0 and one other value.

    A JPEG, which smears the edge, is read at half of white if nearly all of it is close to black or
    white. Of a palette the indices count, if they are binary, and not the colours. Where all
    colours are equal, the alpha channel is the mask.

    Args:
        path: The file.

    Returns:
        The mask; one of zeros alone, or without any, is for the caller to judge.

    Raises:
        Hep2ganError: For all that `read_pixels` rejects, for masks that are not binary, and for
            colours and alpha that show different masks.
    """
    pixels = read_pixels(path)
    is_plain = pixels.palette is None and pixels.stored.ndim == 2
    shown = pixels.stored if is_plain else pixels.grey()
    has_alpha = pixels.alpha is not None and np.ptp(pixels.alpha) > 0
    doubt = "the tag that white is 0" if pixels.white_is_zero else ""
    values: npt.NDArray[Any] = shown
    way = ""
    if pixels.is_lossy:
        shown = _restore_binary(path, shown)
        values, way = shown, "JPEG masks, read at half of white"
    if has_alpha and not np.ptp(shown):
        values, way, doubt = np.asarray(pixels.alpha), "masks of one colour, read by alpha", ""
    elif pixels.palette is not None and _is_binary(pixels.stored, 255):
        values = pixels.stored
        doubt = "a palette in which 0 is brighter" if _is_darker(shown, values > 0) else ""
    if not _is_binary(values, pixels.full_scale):
        found = np.unique(values)
        first = ", ".join(f"{value:g}" for value in found[:4]) + (" …" if len(found) > 4 else "")
        raise Hep2ganError(
            f"{path} is not binary ({len(found)} values: {first})",
            "a mask holds 0 and one other value",
            "save 0 for background and 255 for the nucleus, without antialiasing",
        )
    if has_alpha and not np.array_equal(values > 0, np.asarray(pixels.alpha) > 0):
        raise Hep2ganError(
            f"{path} shows one mask in its colours and another in its alpha",
            "a mask is either",
            "save 0 for background and 255 for the nucleus, without alpha",
        )
    return Mask((values > 0).view(np.uint8), doubt, way)


def _restore_binary(path: Path, grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Set a lossy mask back to 0 and 255.

    Raises:
        Hep2ganError: It is grey in more than its edges, or nowhere white.
    """
    between = float(np.mean((grey > 64) & (grey < 191)))
    if between > MAX_BETWEEN or grey.max() < 191:
        raise Hep2ganError(
            f"{path} is a JPEG with {between:.0%} of its pixels between black and white",
            f"a mask is black and white; of a JPEG at most {MAX_BETWEEN:.0%} may lie between",
            "save 0 for background and 255 for the nucleus as PNG",
        )
    return (grey >= 127.5) * np.float32(255)


def _is_binary(values: npt.NDArray[Any], full_scale: int) -> bool:
    """Tell whether there is 0 and one other value, or one value that is none or full."""
    nucleus, peak = values > 0, values.max()
    is_flat = not nucleus.all() or peak in (1, full_scale)
    return bool(is_flat and np.array_equal(values, nucleus * peak))


def _is_darker(grey: npt.NDArray[Any], nucleus: npt.NDArray[np.bool_]) -> bool:
    """Tell whether the nucleus is shown darker than the background."""
    return 0 < nucleus.sum() < nucleus.size and bool(grey[nucleus][0] < grey[~nucleus][0])
