"""The light of a field as finding its cells needs it: reduced, above its background."""

import numpy as np
from scipy import ndimage
from skimage import transform

from hep2gan.data.fields.regions import Labels
from hep2gan.data.fields.shapes import Plane, fill_holes
from hep2gan.data.readers.image import GreyImage

_BACKGROUND = 6.0  # window of the background in diameters
_DARK = 0.2  # quantile of the window that is background


def reduce_field(image: GreyImage, diameter: float, to: float) -> tuple[Plane, float]:
    """Reduce a field to fewer pixels a cell; one with few enough stays as it is.

    Args:
        image: float32 (h, w) grey levels.
        diameter: Usual diameter of a cell in px.
        to: The same in the reduced field.

    Returns:
        The reduced field, and the diameter there.
    """
    scale, light = min(1.0, to / diameter), image.astype(np.float64)
    if scale >= 0.9:
        return light, diameter
    shape = tuple(max(round(side * scale), 1) for side in image.shape)
    light = transform.resize(light, shape, order=1, anti_aliasing=True, mode="edge")  # type: ignore[no-untyped-call]
    return light, diameter * shape[0] / image.shape[0]


def spread_of_background(light: Plane) -> tuple[float, float]:
    """Measure level and noise of the background by the darker half of all pixels: cells are bright.

    Args:
        light: Grey levels of any shape, at least one.

    Returns:
        Their median, and the standard deviation that those below it show.
    """
    level = float(np.median(light))
    return level, 1.4826 * float(np.median(level - light[light <= level]))


def background_of(light: Plane, diameter: float) -> Plane:
    """Take the dark quantile of a window around each pixel, smoothed; of block means, to be fast.

    Args:
        light: (h, w) grey levels.
        diameter: Usual diameter of a cell in px.

    Returns:
        (h, w) background.
    """
    block = max(int(diameter / 3), 1)
    blocks = block_means(light, block)
    window = int(_BACKGROUND * diameter / block) | 1
    dark = ndimage.percentile_filter(blocks, 100 * _DARK, size=window, mode="nearest")
    dark = ndimage.gaussian_filter(dark, window / 3, mode="nearest")
    return np.asarray(transform.resize(dark, light.shape, order=1, mode="edge"))  # type: ignore[no-untyped-call]


def block_means(light: Plane, block: int) -> Plane:
    """Average square blocks; the last row and column are repeated to fill the last blocks.

    Args:
        light: (h, w) grey levels.
        block: Side of a block in px.

    Returns:
        The means, one for each block.
    """
    padded = np.pad(light, [(0, -side % block) for side in light.shape], mode="edge")
    rows, columns = (side // block for side in padded.shape)
    return np.asarray(padded.reshape(rows, block, columns, block).mean(axis=(1, 3)))


def light_of_regions(light: Plane, labels: Labels, percentile: float) -> Plane:
    """Measure how bright each region is.

    Args:
        light: (h, w) grey levels.
        labels: (h, w) label image, every number from 1 on in use.
        percentile: Which of its pixels' levels is that of a region, 0 to 100.

    Returns:
        Levels by number, infinite for 0, so that no background is brighter.
    """
    index = np.arange(1, int(labels.max()) + 1)
    levels = ndimage.labeled_comprehension(
        light, labels, index, lambda part: np.percentile(part, percentile), float, 0.0
    )
    return np.concatenate([[np.inf], levels])


def tidy_cells(labels: Labels, least_area: float) -> Labels:
    """Keep the largest piece of each cell without holes, and no cell below an area.

    Args:
        labels: (h, w) label image.
        least_area: Pixels of the smallest cell.

    Returns:
        The label image, numbered from 1 without gaps.
    """
    tidy, number = np.zeros(labels.shape, np.int32), 0
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        own = labels[box] == label
        pieces, count = ndimage.label(own)
        if count > 1:
            pieces = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        filled = fill_holes(np.pad(pieces > 0, 1))[1:-1, 1:-1]
        filled &= own | (labels[box] == 0)
        if filled.sum() >= least_area:
            number += 1
            tidy[box][filled] = number
    return tidy


def enlarge_labels(labels: Labels, shape: tuple[int, ...]) -> Labels:
    """Enlarge a label image to the size of the field.

    Args:
        labels: Label image of the reduced field.
        shape: Height and width of the field.

    Returns:
        The label image of that size.
    """
    if labels.shape == shape:
        return labels
    rows, columns = (
        np.minimum(((np.arange(full) + 0.5) * side / full).astype(int), side - 1)
        for full, side in zip(shape, labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[rows][:, columns])
