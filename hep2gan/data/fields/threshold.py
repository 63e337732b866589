"""cells=threshold: thresholds at all levels, distance transform and watershed find cells."""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy import ndimage
from skimage import segmentation

from hep2gan.data.fields.distance import find_cells_by_distance
from hep2gan.data.fields.light import (
    background_of,
    block_means,
    enlarge_labels,
    reduce_field,
    spread_of_background,
    tidy_cells,
)
from hep2gan.data.fields.proposals import choose_proposals
from hep2gan.data.fields.regions import Labels
from hep2gan.data.fields.shapes import (
    Likeness,
    Plane,
    choose_regions,
    diameters,
    measure_shapes,
    weighted_median,
)
from hep2gan.data.fields.sized import find_cells_of_size
from hep2gan.data.readers.image import GreyImage
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Settings

Share = Annotated[float, Field(gt=0, lt=1)]

_WORK_DIAMETER = 24.0  # px of a cell in the reduced image: details enough, and 4 times faster
_LEVELS = 28
_SMOOTH = 0.042  # standard deviation of the smoothing, in diameters
_FAINTEST = (
    0.05  # lowest threshold as a share of the brightest light: below it is cytoplasm and halo
)
_NO_SIGNAL = 0.5  # grey levels that are no signal, whatever the noise
_ROUNDS = 2
_SPLIT_BELOW = 0.94  # fill of cells that the distance transform may split
_RING = 0.15  # width of the surroundings that a cell is compared with, in diameters
_ESTIMATE_SIDE = 1024  # px; larger fields are reduced to estimate the diameter
_UNKNOWN = 24.0  # px, where nothing in the field tells the diameter
_SMALLEST_SEEN = 4.0  # px, smallest region that the estimate counts


class ThresholdFinder(Settings):
    """Find cells by the brightness and the shape of their regions; needs no training.

    Where the cells of the training are all about as large, cells are where light answers to a
    filter of their size, see `find_cells_of_size`. Else two ways propose cells, and in each place
    those more like ellipses are taken: thresholds of the field and of each clump with the distance
    transform, and the most elliptic regions of all thresholds, to which most settings belong.

    Args:
        diameter: Usual diameter of a cell in px; None takes that of the training's cells where they
            are all about as large, and treats cells of any size else.
        outline: Of cells of any size: the outline lies where brightness falls to this share of the
            median.
        noise: Of cells of any size: lowest threshold, in standard deviations of the background.
        smallest: Of cells of any size: diameter of the smallest, as a multiple of the usual one.
        largest: Of cells of any size: diameter as a multiple of the usual one, above which cells
            are found only where nothing within them is more like a cell.
        contrast: Of cells of any size: least difference of a cell from its surroundings, as a share
            of its brightness.
        split: Of cells of any size: a clump is split where its parts are more like ellipses by at
            least this much; smaller values split more.
    """

    diameter: Annotated[float, Field(ge=4, le=1000, examples=[48.0])] | None = None
    outline: Share = 0.5
    noise: Annotated[float, Field(ge=0, le=20)] = 1.5
    smallest: Share = 0.25
    largest: Annotated[float, Field(ge=1, le=10)] = 1.15
    contrast: Share = 0.3
    split: Share = 0.04

    def find(self, image: GreyImage, diameter: float | None) -> Labels:
        """Find the cells of one field; see `CellFinder`.

        Args:
            image: float32 (h, w) grey levels on the 0 to 255 scale.
            diameter: Usual diameter of a cell's mask in px; None estimates it from the field.

        Returns:
            int32 (h, w) label image; zeros alone where there is no cell.

        Raises:
            Hep2ganError: The image is no (h, w) plane.
        """
        if image.ndim != 2:
            raise Hep2ganError(
                f"the field has shape {image.shape}",
                "cells are found in (h, w) grey levels",
                "choose a channel and a plane",
            )
        if known := self.diameter or diameter:
            return find_cells_of_size(image, known)
        ways = (find_cells_by_distance(image), self._find_regions(image))
        return choose_proposals(ways)

    def _find_regions(self, image: GreyImage) -> Labels:
        """Find the regions most like ellipses among those of all thresholds."""
        field = _prepare(image, estimate_diameter(image))
        labels = self._split(self._grow(field), field.diameter)
        labels = self._drop_faint(labels, field)
        return enlarge_labels(labels, image.shape)

    def _likeness(self, diameter: float) -> Likeness:
        return Likeness(self.smallest * diameter, self.largest * diameter, self.split)

    def _grow(self, field: "_Prepared") -> Labels:
        """Choose regions, and grow each to its share of its own brightness."""
        likeness = self._likeness(field.diameter)
        lowest = max(
            field.level + self.noise * field.noise,
            _FAINTEST * float(np.percentile(field.light, 99.5)),
            _NO_SIGNAL,
        )
        highest = 0.98 * float(field.light.max())
        if highest <= lowest:
            return np.zeros(field.light.shape, np.int32)
        levels = np.geomspace(lowest, highest, _LEVELS)
        seeds, number = choose_regions(field.light, levels, likeness)
        if not number:
            return seeds
        basins = segmentation.watershed(-field.light, seeds, mask=field.light > lowest)  # type: ignore[no-untyped-call]
        grown = seeds
        # What a seed holds of the halo makes it too dark: its core, found first, tells the rest.
        for _ in range(_ROUNDS):
            brightness = ndimage.median(field.light, grown, np.arange(1, number + 1))
            threshold = np.concatenate([[np.inf], self.outline * np.asarray(brightness)])
            grown = np.where(field.light > threshold[basins], basins, 0)
        return tidy_cells(grown, likeness.least_area)

    def _split(self, labels: Labels, diameter: float) -> Labels:
        """Split cells that are no ellipses where the distance to their outline has a neck."""
        number = int(labels.max())
        if not number:
            return labels
        likeness = self._likeness(diameter)
        shapes = measure_shapes(labels, number)
        split, last = labels.copy(), number
        for index, box in enumerate(ndimage.find_objects(labels)):
            is_clump = shapes.fill[index] < _SPLIT_BELOW
            if not is_clump or shapes.area[index] < 2 * likeness.least_area:
                continue
            mask = np.pad(labels[box] == index + 1, 1)
            parts, found = self._parts(mask, diameter)
            if found < 2:
                continue
            of_parts = measure_shapes(parts, found)
            fill = float(np.average(of_parts.fill, weights=of_parts.area))
            if (
                of_parts.area.min() >= likeness.least_area
                and fill > shapes.fill[index] + self.split
            ):
                inner = parts[1:-1, 1:-1]
                split[box] = np.where(inner > 1, inner + (last - 1), split[box])
                last += found - 1
        return split

    def _parts(self, mask: np.ndarray, diameter: float) -> tuple[Labels, int]:
        """Divide one mask by the watershed of its distance transform."""
        depth = ndimage.distance_transform_edt(mask)
        depth = ndimage.gaussian_filter(depth, max(0.03 * diameter, 0.5)) * mask
        # The core of a part is about a third as wide as the part.
        core = Likeness(0.35 * self.smallest * diameter, self.largest * diameter, self.split)
        levels = np.linspace(0.25, 0.98, 14) * float(depth.max())
        seeds, number = choose_regions(depth, levels, core)
        return segmentation.watershed(-depth, seeds, mask=mask).astype(np.int32), number  # type: ignore[no-untyped-call]

    def _drop_faint(self, labels: Labels, field: "_Prepared") -> Labels:
        """Drop what hardly differs from its surroundings, or far less than the other cells."""
        number = int(labels.max())
        if not number:
            return labels
        around = segmentation.expand_labels(labels, max(_RING * field.diameter, 1.5))  # type: ignore[no-untyped-call]
        around = np.where(labels == 0, around, 0)
        inside, area = _means(field.light, labels, number)
        outside, has_ring = _means(field.light, around, number)
        difference = np.where(has_ring > 0, inside - outside, inside)
        usual = weighted_median(difference, area)
        is_faint = difference < np.maximum(
            self.contrast * inside, max(_FAINT_NOISE * field.noise, _FAINT_SHARE * usual)
        )
        return _renumber(np.where(np.concatenate([[False], is_faint])[labels], 0, labels))


_FAINT_NOISE = 2.0  # least difference of a cell in standard deviations of the background
_FAINT_SHARE = 0.15  # the same as a share of that of the field's other cells


class _Prepared(NamedTuple):
    """A field made ready.

    Attributes:
        light: (h, w) reduced and smoothed light above the background.
        diameter: Usual diameter of a cell there, in px.
        level: Median light, which is that of the background.
        noise: Standard deviation of the background.
    """

    light: Plane
    diameter: float
    level: float
    noise: float


def _prepare(image: GreyImage, diameter: float) -> _Prepared:
    light, diameter = reduce_field(image, diameter, _WORK_DIAMETER)
    light = ndimage.gaussian_filter(light, max(_SMOOTH * diameter, 0.7))
    light -= background_of(light, diameter)
    return _Prepared(light, diameter, *spread_of_background(light))


def estimate_diameter(image: GreyImage) -> float:
    """Estimate the usual diameter of a field's cells from the field itself.

    Of the regions of all thresholds the most elliptic ones are chosen, whatever their size; half of
    their area is in regions above the median size, which is returned.

    Args:
        image: float32 (h, w) grey levels.

    Returns:
        The diameter in px; 24 where the field shows no region that may be a cell.
    """
    block = -(-max(image.shape) // _ESTIMATE_SIDE)
    light = block_means(image.astype(np.float64), block)
    light = ndimage.gaussian_filter(ndimage.median_filter(light, 3), 1.0)
    level, noise = spread_of_background(light)
    light -= level
    lowest = max(_FAINTEST * float(np.percentile(light, 99.8)), 2 * noise, _NO_SIGNAL)
    highest = 0.98 * float(np.percentile(light, 99.8))
    if highest <= lowest:
        return _UNKNOWN
    any_size = Likeness(_SMALLEST_SEEN, float("inf"), 0.04)
    regions, number = choose_regions(light, np.geomspace(lowest, highest, 24), any_size)
    shapes = measure_shapes(regions, number)
    # A ninth of the field is no cell: it is uneven light.
    area = shapes.area[(shapes.fill > 0.9) & (shapes.area < light.size / 9)]
    if not len(area):
        return _UNKNOWN
    return float(block * diameters(np.array([weighted_median(area, area)]))[0])


def _means(light: Plane, labels: Labels, number: int) -> tuple[Plane, Plane]:
    """Mean light and area of each label."""
    flat = labels.ravel()
    area = np.bincount(flat, minlength=number + 1)[1:].astype(np.float64)
    total = np.bincount(flat, light.ravel(), number + 1)[1:]
    return total / np.maximum(area, 1), area


def _renumber(labels: Labels) -> Labels:
    """Number the cells from 1 without gaps, from the top of the field."""
    return np.asarray(segmentation.relabel_sequential(labels)[0], np.int32)  # type: ignore[no-untyped-call]
