"""Images with outlines of masks drawn into their pixels."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.boundary import mask_outline
from hep2gan.reports.figures.style import PREDICTION, TRUTH
from hep2gan.runs.predictions import FOREGROUND, Predictions

_MAP_COLORS, _MAP_OPACITY = "autumn", 0.6
"""Of matplotlib, from red to yellow: lighter the higher, and never the purple of an outline."""


def overlay(
    image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], color: str = PREDICTION
) -> npt.NDArray[np.uint8]:
    """Draw the outermost pixels of a mask on a grey image, or on one that has colours already.

    The line is one pixel wide, more on images above 256 px.

    Args:
        image: (H, W) grey levels 0..255, or (H, W, 3) colours.
        mask: (H, W) of two values, foreground nonzero ({0, 1} or {0, 255}); an empty one leaves the
            image as it is.
        color: Colour of the line, #RRGGBB.

    Returns:
        (H, W, 3) RGB image.

    Raises:
        Hep2ganError: If shapes differ or the mask has grey levels.
    """
    if image.ndim not in (2, 3) or image.shape[:2] != mask.shape:
        raise Hep2ganError(
            f"image and mask have shapes {image.shape} and {mask.shape}",
            "an overlay needs two arrays (H, W) of one size",
        )
    inside = mask > 0
    if inside.any() and mask.min(where=inside, initial=255) != mask.max():
        raise Hep2ganError("the mask has grey levels", "must be binary", "threshold it at 128")
    core = inside
    for _ in range(max(1, round(min(mask.shape) / 256))):
        core = core & ~mask_outline(core)
    coloured = image.copy() if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    coloured[inside & ~core] = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return coloured


def blend_map(
    image: npt.NDArray[np.uint8], values: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Lay a map over a grey image: nothing where it is 0, the more of its colour the higher it is.

    Args:
        image: (H, W) grey levels 0..255.
        values: (H, W) numbers in [0, 1].

    Returns:
        (H, W, 3) RGB image.
    """
    strength = np.clip(values, 0, 1)
    color = colormaps[_MAP_COLORS](strength)[:, :, :3]
    opacity = _MAP_OPACITY * strength[:, :, None]
    mixed = (1 - opacity) * image[:, :, None] + opacity * 255 * color
    return np.asarray(mixed.round(), np.uint8)


def overlay_cell(predictions: Predictions, row: int, side: int = 256) -> npt.NDArray[np.uint8]:
    """Draw the outlines that a cell has: the true one in green, over it the generated in purple.

    The image is enlarged by a whole number, so that the lines are thin beside the cell.

    Args:
        predictions: Predictions of one method.
        row: Index of the cell.
        side: Least side of the result in pixels.

    Returns:
        (H, W, 3) RGB image.
    """
    truth, mask = predictions.truth, predictions.mask
    return draw_outlines(
        predictions.image[row],
        None if truth is None else truth[row],
        None if mask is None else (mask[row] >= FOREGROUND).astype(np.uint8),
        side,
    )


def draw_outlines(
    image: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8] | None,
    mask: npt.NDArray[np.uint8] | None,
    side: int = 256,
) -> npt.NDArray[np.uint8]:
    """Draw the true outline of a cell in green, and over it the generated one in purple.

    Args:
        image: (H, W) grey levels 0..255.
        truth: (H, W) true mask of {0, 1}; None for no outline.
        mask: (H, W) generated mask of {0, 1}; None for no outline.
        side: Least side of the result in pixels; the image is enlarged by a whole number.

    Returns:
        (H', W', 3) RGB image.
    """
    times = -(-side // min(image.shape))
    image = _enlarge(image, times)
    picture = np.repeat(image[:, :, None], 3, axis=2)
    if truth is not None:
        picture = overlay(image, _enlarge(truth, times), TRUTH)
    if mask is not None:
        generated = overlay(image, _enlarge(mask, times), PREDICTION)
        outline = (generated != image[:, :, None]).any(axis=2)
        picture[outline] = generated[outline]
    return picture


def _enlarge(pixels: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.uint8]:
    return pixels.repeat(times, axis=0).repeat(times, axis=1)
