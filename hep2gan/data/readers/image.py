"""Grey levels of images of single cells, scaled, resized and stretched."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.decoding import read_pixels
from hep2gan.data.readers.stack import PlaneChoice
from hep2gan.errors import Hep2ganError

GreyImage = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
LOSSY_SUFFIXES = (".jpg", ".jpeg")
"""File names of images; compared in lower case."""
HOT = 8.0
"""A pixel so many times as bright as all but one of its neighbours is the sensor's, not the cell's.

Optics blur: with a standard deviation of 0.6 px, sharper than a microscope's, the second brightest
neighbour of a point of light has a quarter of its height, and the background adds to both.
"""
MAX_HOT = 1000
"""Hot pixels of an image that are mended; a sensor with more is beyond repair."""


class GreyLevels(NamedTuple):
    """Grey levels that stored 0 and stored 255 represent, on the 0 to 255 scale.

    Attributes:
        lo: Grey level of stored 0.
        hi: Grey level of stored 255.
    """

    lo: float
    hi: float


class ImageReading(NamedTuple):
    """How images are read; the values that are None are left to each file.

    Attributes:
        white_level: Grey level of white, see `read_image`.
        channel: Number or name of the channel, see `PlaneChoice`.
        plane: Number of the plane.
    """

    white_level: int | None = None
    channel: int | str | None = None
    plane: int | None = None

    def or_else(self, other: "ImageReading") -> "ImageReading":
        """Take what is None from another reading.

        Args:
            other: The other, such as that of a training.

        Returns:
            The reading of both.
        """
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return other._replace(**given)


class DecodedImage(NamedTuple):
    """One image in the units of its file.

    Attributes:
        values: float32 (h, w), finite and not negative, hot pixels mended.
        full_scale: Value of white: 255, 4095 or 65535; 0 if unknown (signed, 32-bit, float TIFF).
    """

    values: npt.NDArray[np.float32]
    full_scale: int


def read_image(
    path: Path,
    white_level: int | None = None,
    channel: int | str | None = None,
    plane: int | None = None,
) -> GreyImage:
    """Read one image as grey levels.

    Args:
        path: The file.
        white_level: Value of a 12-bit to 32-bit or float file that maps to 255; None takes 65535
            for 16 bits. Choose 4095 for a 12-bit camera. 8-bit files keep their levels.
        channel: Number or name of the channel; see `PlaneChoice`.
        plane: Number of the plane.

    Returns:
        float32 (h, w) on the 0 to 255 scale.

    Raises:
        Hep2ganError: For all that `decode_image` and `grey_levels` reject.
    """
    return grey_levels(path, decode_image(path, channel, plane), white_level)


def read_array(
    name: str, pixels: npt.NDArray[np.generic], white_level: int | None = None
) -> GreyImage:
    """Take an array as grey levels, as `read_image` takes a file of its numbers.

    Args:
        name: What messages call it.
        pixels: (h, w) of uint8, whose levels are kept; of uint16, whose white is 65535; or of other
            integers and floats, whose white must be said.
        white_level: As in `read_image`.

    Returns:
        float32 (h, w) on the 0 to 255 scale.

    Raises:
        Hep2ganError: For another shape or type, for values that are negative or not finite, and for
            all that `grey_levels` rejects.
    """
    if pixels.ndim != 2 or not pixels.size:
        raise Hep2ganError(
            f"{name} has shape {pixels.shape}",
            "an image is an array (height, width) of grey levels",
            "give one channel, as image[..., 1], or the images of a stack as a list",
        )
    if pixels.dtype.kind not in "uif":
        raise Hep2ganError(
            f"{name} holds {pixels.dtype}", "grey levels are numbers", "give uint8, uint16 or float"
        )
    values = pixels.astype(np.float32)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise Hep2ganError(
            f"{name} holds negative or non-finite values",
            "grey levels are finite and not negative",
            "subtract its smallest value, or clip it",
        )
    white = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(pixels.dtype, 0)
    return grey_levels(Path(name), DecodedImage(mend_hot_pixels(values), white), white_level)


def grey_levels(path: Path, decoded: DecodedImage, white_level: int | None = None) -> GreyImage:
    """Scale a decoded image to grey levels from 0 to 255.

    Args:
        path: The file, for messages.
        decoded: What `decode_image` returned.
        white_level: As in `read_image`.

    Returns:
        float32 (h, w) on the 0 to 255 scale.

    Raises:
        Hep2ganError: For values above `white_level`, and signed, 32-bit and float files without it.
    """
    if decoded.full_scale == 255:
        return decoded.values
    full_scale = white_level or decoded.full_scale
    if not full_scale:
        raise Hep2ganError(
            f"{path} holds signed, 32-bit or float values",
            "their scale is unknown",
            "set data.white_level (white_level of hep2gan-predict) to the value that means white",
        )
    peak = float(decoded.values.max())
    if peak > full_scale:
        raise Hep2ganError(
            f"{path} holds {peak:g}",
            f"data.white_level={full_scale} is the largest value",
            "choose a larger data.white_level",
        )
    return decoded.values * np.float32(255 / full_scale)


def decode_image(
    path: Path, channel: int | str | None = None, plane: int | None = None
) -> DecodedImage:
    """Read one image as grey levels, oriented by its EXIF data; alpha is dropped.

    Args:
        path: The file.
        channel: Number or name of the channel; see `PlaneChoice`.
        plane: Number of the plane.

    Returns:
        The image in the units of the file.

    Raises:
        Hep2ganError: For all that `read_pixels` rejects, and for values that are negative or not
            finite.
    """
    pixels = read_pixels(path, PlaneChoice(channel, plane))
    values = pixels.grey()
    is_unsigned = pixels.stored.dtype.kind == "u"
    if not is_unsigned and not (np.isfinite(values).all() and (values >= 0).all()):
        raise Hep2ganError(
            f"{path} holds negative or non-finite values",
            "grey levels are finite and not negative",
            "save it as 16-bit grey",
        )
    return DecodedImage(mend_hot_pixels(values), pixels.full_scale)


def mend_hot_pixels(values: GreyImage) -> GreyImage:
    """Give hot pixels the value of their second brightest neighbour.

    One pixel at 65535 in a crop of a 12-bit camera would leave all others a sixteenth of the stored
    levels. Only pixels brighter than the brightest ordinary one are looked at, since others do not
    matter to a stretch: an image whose brightest pixel is no hot one is returned as it is. Two hot
    pixels side by side are mended, larger clusters are not.

    Args:
        values: float32 (h, w), not negative; 0 is dark.

    Returns:
        The same array, or a mended copy; the same too if it would become constant.
    """
    mended, width = values, values.shape[1]
    for _ in range(MAX_HOT):
        row, column = divmod(int(mended.argmax()), width)
        window = mended[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if window.size < 4 or (third := np.sort(window, axis=None)[-3]) * HOT >= window.max():
            break
        if mended is values:
            mended = values.copy()
        mended[row, column] = third
    return values if mended.min() == mended.max() else mended


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
