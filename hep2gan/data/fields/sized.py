"""Cells of a known size: where light is brightest at the scale of a cell, outlined around there.

Made for the stains of HEp-2 cells, which show a nucleus by its rim, by a few grains, or hardly
against its cytoplasm. What the light does not tell is taken from the usual size: an outline far too
small becomes a circle, one far too large is drawn in.
"""

import numpy as np
from scipy import ndimage
from skimage import feature, morphology, segmentation

from hep2gan.data.fields.light import (
    background_of,
    enlarge_labels,
    light_of_regions,
    reduce_field,
    spread_of_background,
    tidy_cells,
)
from hep2gan.data.fields.regions import CellRegion, Labels, find_regions
from hep2gan.data.fields.shapes import Plane, weighted_median
from hep2gan.data.readers.image import GreyImage

_WORK_DIAMETER = 30.0  # px of a cell in the reduced field
_SMOOTH = 0.7  # px, standard deviation against noise
_GRAINS = 0.22  # in diameters: radius of what is too small for a nucleus and is taken away
_SCALE = 0.36  # in diameters: standard deviation of the filter that answers to a cell
_ANSWER = 0.3  # its least answer to a cell, in units of log light
_NOISE = 2.0  # lowest light of a cell in standard deviations of the background
_LEAST_LIGHT = 0.3  # the same in grey levels, whatever the noise
_APART = 0.42  # in diameters: least distance of two cells
_REACH = 0.85  # in diameters: farthest pixel of a cell from where it is brightest
_OUTLINE = 0.76  # a cell ends where its light falls to this share of its own
_BRIGHTNESS = 60  # percentile of a cell's pixels that is its own light
_FAINT = 0.35  # least light of a cell as a share of the field's usual one
_LEAST_AREA = 0.25  # of the usual one
_CIRCLE_BELOW = 0.7  # of the usual area: a smaller cell is replaced by a circle
_LARGEST = 1.12  # in diameters: a larger cell is drawn in to the usual size


def find_cells_of_size(image: GreyImage, diameter: float) -> Labels:
    """Find cells that are all about as large as is known.

    Grains and rims are taken away by an opening, the background is subtracted, and cells are where
    the Laplacian of the logarithm of light, at the scale of a cell, is largest.

    Args:
        image: float32 (h, w) grey levels.
        diameter: Usual diameter of a cell in px.

    Returns:
        int32 (h, w) label image.
    """
    light, usual = reduce_field(image, diameter, _WORK_DIAMETER)
    light = _without_grains(light, usual)
    level, noise = spread_of_background(light)
    light -= level
    lowest = max(_NOISE * noise, _LEAST_LIGHT)
    answer = _answer_of_cells(np.log1p(np.maximum(light, 0) / lowest), usual)
    is_light = morphology.remove_small_holes(light > lowest, max_size=int((0.6 * usual) ** 2))
    peaks = feature.peak_local_max(  # type: ignore[no-untyped-call]
        answer,
        min_distance=max(int(_APART * usual), 1),
        threshold_abs=_ANSWER,
        exclude_border=False,
    )
    peaks = peaks[is_light[tuple(peaks.T)]]
    if not len(peaks):
        return np.zeros(image.shape, np.int32)
    seeds = np.zeros(light.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    is_near = ndimage.distance_transform_edt(seeds == 0) < _REACH * usual
    basins = segmentation.watershed(-answer, seeds, mask=is_light & is_near)  # type: ignore[no-untyped-call]
    labels = _outline(light, basins.astype(np.int32))
    labels = tidy_cells(labels, _LEAST_AREA * np.pi / 4 * usual**2)
    return enlarge_labels(_correct_sizes(labels, usual), image.shape)


def _without_grains(light: Plane, diameter: float) -> Plane:
    """Smooth, take away what is too small for a nucleus, and subtract the background."""
    light = ndimage.gaussian_filter(light, _SMOOTH)
    light = ndimage.grey_opening(light, footprint=_disc(_GRAINS * diameter), mode="nearest")
    light = ndimage.gaussian_filter(light, max(0.03 * diameter, 0.5))
    return np.asarray(light - background_of(light, diameter))


def _answer_of_cells(light: Plane, diameter: float) -> Plane:
    """The negative Laplacian at the scale of a cell; the field is mirrored beyond its border."""
    sigma, pad = _SCALE * diameter, int(diameter)
    mirrored = np.pad(light, pad, mode="symmetric")
    answer = -(sigma**2) * ndimage.gaussian_laplace(mirrored, sigma)
    return np.asarray(answer[pad:-pad, pad:-pad])


def _outline(light: Plane, basins: Labels) -> Labels:
    """Keep the pixels of each basin above a share of its own light; drop faint cells."""
    number = int(basins.max())
    index = np.arange(1, number + 1)
    own = light_of_regions(light, basins, _BRIGHTNESS)
    labels = np.where(light > _OUTLINE * own[basins], basins, 0)
    area = np.bincount(labels.ravel(), minlength=number + 1)[1:].astype(np.float64)
    if not (exists := area > 0).any():
        return labels
    brightness = np.nan_to_num(ndimage.median(light, labels, index))
    usual = weighted_median(brightness[exists], area[exists])
    is_faint = np.concatenate([[False], brightness < _FAINT * usual])
    return np.where(is_faint[labels], 0, labels)


def _correct_sizes(labels: Labels, diameter: float) -> Labels:
    """Draw cells that are too large in, and replace those that are too small by circles."""
    usual = np.pi / 4 * diameter**2
    regions = find_regions(labels)
    small = [r for r in regions if r.area < _CIRCLE_BELOW * usual and not r.at_border]
    kept = labels.copy()
    for region in regions:
        if region.area > _LARGEST**2 * usual:
            _draw_in(kept, region, int(usual))
    kept[np.isin(kept, [region.label for region in small])] = 0
    return np.where(kept > 0, kept, _circles(labels.shape, small, diameter / 2))


def _draw_in(labels: Labels, region: CellRegion, area: int) -> None:
    """Leave so many pixels of a cell, those farthest from its outline."""
    top, left, bottom, right = region.box
    part = labels[top:bottom, left:right]
    own = part == region.label
    depth = ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
    part[own & (depth < np.sort(depth[own])[-area])] = 0


def _circles(shape: tuple[int, ...], regions: list[CellRegion], radius: float) -> Labels:
    """Draw a circle around the middle of each cell; where two meet, the nearer middle counts."""
    circles, nearest = np.zeros(shape, np.int32), np.full(shape, radius**2)
    for region in regions:
        y, x = region.centroid
        rows = slice(max(int(y - radius), 0), int(y + radius) + 2)
        columns = slice(max(int(x - radius), 0), int(x + radius) + 2)
        part = nearest[rows, columns]
        down = np.arange(rows.start, rows.start + part.shape[0])[:, None]
        across = np.arange(columns.start, columns.start + part.shape[1])
        distance = (down - y) ** 2 + (across - x) ** 2
        is_nearer = distance < part
        part[is_nearer] = distance[is_nearer]
        circles[rows, columns][is_nearer] = region.label
    return circles


def _disc(radius: float) -> Plane:
    side = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    return np.asarray(side[:, None] ** 2 + side**2 <= (radius + 0.3) ** 2)
