"""Trivial baselines without learning, to compare every score with, on the same cells."""

import numpy as np
import numpy.typing as npt

BASELINES = {
    "ellipse": "inscribed ellipse",
    "mean_mask": "mean mask",
    "otsu": "Otsu's threshold",
    "majority": "majority class",
}
"""Baselines in words, by their names in metrics.json, in the order of a table's columns."""

CROP_MARGIN = 10.0
"""Margin around the mask's bounding box in raw pixels, in every crop of the ICPR 2016 set."""


def inscribed_ellipses(
    crop_size: npt.NDArray[np.int64],
    shape: tuple[int, int],
    margin: float = CROP_MARGIN,
    margin_share: float = 0.0,
) -> npt.NDArray[np.bool_]:
    """Inscribe ellipses in the crops less their margin; the images are not used.

    A pixel belongs to the ellipse if its centre does. A crop that is all margin gives an empty
    mask.

    Args:
        crop_size: (N, 2) height and width of the raw crops in pixels.
        shape: (H, W) to which the crops were resized.
        margin: Margin on each side in raw pixels.
        margin_share: Additional margin, as a share of the crop's own side (a bounding box widened
            by 20 % on each side leaves 0.2 / 1.4 of it).

    Returns:
        Masks (N, H, W).
    """
    height, width = shape
    masks = np.empty((len(crop_size), height, width), dtype=np.bool_)
    for mask, sides in zip(masks, crop_size, strict=True):
        rows, columns = (
            _square_of_normalised_distance(float(side), count, margin + margin_share * float(side))
            for side, count in zip(sides, shape, strict=True)
        )
        np.less_equal(rows[:, None] + columns[None, :], 1.0, out=mask)
    return masks


def _square_of_normalised_distance(
    side: float, count: int, margin: float
) -> npt.NDArray[np.float64]:
    semiaxis = side / 2 - margin
    if semiaxis <= 0:
        return np.full(count, np.inf)
    centres = (np.arange(count) + 0.5) * (side / count)
    return np.asarray(np.square((centres - side / 2) / semiaxis), np.float64)


def otsu_masks(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Threshold each image at its own level by Otsu's method.

    The threshold is the level that divides the pixels into two classes of the largest variance
    between them, the lowest of equals (N. Otsu, "A threshold selection method from gray-level
    histograms", IEEE Transactions on Systems, Man, and Cybernetics 9, 1979, eq. 18).

    Args:
        image: (N, H, W) grey levels 0..255.

    Returns:
        Masks (N, H, W) of the brighter pixels; empty for an image of one level.
    """
    return np.stack([one > _threshold(one) for one in image])


def _threshold(image: npt.NDArray[np.uint8]) -> int:
    """Compute the level up to which pixels are background."""
    share = np.bincount(image.reshape(-1), minlength=256) / image.size
    below, level = np.cumsum(share), np.cumsum(share * np.arange(256))
    spread = below * (1 - below)
    between = np.zeros(256)
    divided = spread > 1e-12
    between[divided] = (level[-1] * below - level)[divided] ** 2 / spread[divided]
    return int(between.argmax()) if divided.any() else 255


def majority_class(train_counts: npt.NDArray[np.int64], cells: int) -> npt.NDArray[np.float32]:
    """Predict the class most frequent in training (the first of equals) for all cells.

    Args:
        train_counts: (K,) cells per class in the training part.
        cells: Number N of cells.

    Returns:
        (N, K) probabilities of 0 and 1.
    """
    probabilities = np.zeros((cells, len(train_counts)), dtype=np.float32)
    probabilities[:, train_counts.argmax()] = 1.0
    return probabilities
