"""Cells of any size: what is brighter than a threshold, divided where it is narrow."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import filters, measure, morphology, segmentation

from hep2gan.data.fields.light import light_of_regions, spread_of_background, tidy_cells
from hep2gan.data.fields.regions import Labels
from hep2gan.data.fields.shapes import Plane, weighted_median
from hep2gan.data.readers.image import GreyImage

_SMOOTH = 1.0  # px, standard deviation against noise
_THRESHOLD = 0.8  # of Otsu's threshold of log light: faint cells are below it
_NOISE = 5.0  # lowest threshold in standard deviations of the background
_LEAST_NOISE = 0.5  # grey levels
_CLUMP = 0.4  # share of a clump's upper quarter below which its halo begins
_ROUNDS = 2  # of parting a clump by its own light
_OUTLINE = 0.5  # a cell ends where it falls to this share of its median
_NECK = 0.4  # px, least rise of the distance between two cells
_HOLE = 200  # px, largest hole that is filled
_SMALLEST = 0.1  # of the usual area
_LEAST_AREA = 12  # px
_FAINT = 0.2  # of the usual light


def find_cells_by_distance(image: GreyImage) -> Labels:
    """Find bright cells: a threshold for the field, one for each clump, the distance transform.

    Args:
        image: float32 (h, w) grey levels.

    Returns:
        int32 (h, w) label image.
    """
    light = ndimage.gaussian_filter(image.astype(np.float64), _SMOOTH)
    if np.ptp(light) < _LEAST_NOISE:
        return np.zeros(image.shape, np.int32)
    level, noise = spread_of_background(light[_background_class(light)])
    light -= level
    is_light = _part_clumps(light, _threshold(light, noise))
    depth = ndimage.distance_transform_edt(np.pad(is_light, 1, mode="edge"))[1:-1, 1:-1]
    depth = ndimage.gaussian_filter(depth, 1.0)
    seeds = measure.label(morphology.h_maxima(depth, _NECK) & is_light)  # type: ignore[no-untyped-call]
    labels = segmentation.watershed(-depth, seeds, mask=is_light).astype(np.int32)  # type: ignore[no-untyped-call]
    return tidy_cells(_drop_odd(light, labels), _LEAST_AREA)


def _background_class(light: Plane) -> npt.NDArray[np.bool_]:
    """The darker class of all pixels; in a crowded field the median is no background."""
    shifted = light - light.min()
    scale = np.log(shifted + max(spread_of_background(shifted)[1], _LEAST_NOISE))
    return np.asarray(scale <= filters.threshold_otsu(scale))  # type: ignore[no-untyped-call]


def _threshold(light: Plane, noise: float) -> float:
    """Otsu's threshold of the logarithm, in which faint cells count like bright ones."""
    offset = max(noise, _LEAST_NOISE)
    otsu = filters.threshold_otsu(np.log(np.maximum(light, 0) + offset))  # type: ignore[no-untyped-call]
    return max(_THRESHOLD * (float(np.exp(otsu)) - offset), _NOISE * noise)


def _part_clumps(light: Plane, threshold: float) -> npt.NDArray[np.bool_]:
    """Raise the threshold in each clump to a share of its own light, which parts it."""
    is_light = _smooth_outline(light > threshold)
    for _ in range(_ROUNDS):
        clumps, _ = ndimage.label(is_light)
        of_clump = light_of_regions(light, clumps, 75)
        is_light = _smooth_outline(is_light & (light > _CLUMP * of_clump[clumps]))
    return is_light


def _smooth_outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    opened = ndimage.binary_opening(mask)
    return np.asarray(morphology.remove_small_holes(opened, max_size=_HOLE))


def _drop_odd(light: Plane, labels: Labels) -> Labels:
    """Outline each cell by its own light; drop those far smaller or fainter than usual."""
    number = int(labels.max())
    if not number:
        return labels
    own = np.concatenate([[np.inf], ndimage.median(light, labels, np.arange(1, number + 1))])
    labels = np.where(light > _OUTLINE * own[labels], labels, 0)
    area = np.bincount(labels.ravel(), minlength=number + 1)[1:].astype(np.float64)
    if not (exists := area > 0).any():
        return labels
    least = _SMALLEST * weighted_median(area[exists], area[exists])
    faintest = _FAINT * weighted_median(own[1:][exists], area[exists])
    is_odd = np.concatenate([[False], (area < least) | (own[1:] < faintest)])
    return np.where(is_odd[labels], 0, labels)
