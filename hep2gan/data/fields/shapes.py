"""Cells at many thresholds at once: the tree of bright regions, and those that look like cells.

At each of many levels the pixels above it fall into regions; a region at one level lies within one
at the level below, so that all of them form a tree. Chosen are the regions that are most like an
ellipse, none within another: touching cells part at the level where each is one (Arteta et al.,
"Learning to detect cells using non-overlapping extremal regions", MICCAI 2012, with a rule in place
of a trained score).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.fields.regions import Labels

Plane = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

_SLENDER = 0.4  # minor by major axis below which a region is less and less like a cell
_TOO_LARGE = 0.3  # fall-off of the likeness above the largest size, in units of log diameter


class Shapes(NamedTuple):
    """Shapes of the regions of a label image, by their number less 1; each (n,).

    Attributes:
        area: Pixels.
        fill: Area over that of the ellipse with the same second moments: 1 for an ellipse, less
            for clumps, rings and ragged regions.
        ratio: Minor by major axis of that ellipse.
    """

    area: Values
    fill: Values
    ratio: Values


@dataclass(frozen=True)
class Likeness:
    """How much a region is like a cell.

    Attributes:
        smallest: Diameter in px of the smallest region that is one.
        largest: Diameter in px above which regions are less and less like one.
        gain: Several regions are chosen in place of the one around them if their mean likeness is
            greater by at least this much.
    """

    smallest: float
    largest: float
    gain: float

    @property
    def least_area(self) -> float:
        """Area in px of the smallest region."""
        return float(np.pi / 4 * self.smallest**2)

    def score(self, shapes: Shapes) -> Values:
        """Score regions.

        Args:
            shapes: Their shapes.

        Returns:
            (n,) from 0 to 1, an ellipse of possible size.
        """
        excess = np.log(np.maximum(diameters(shapes.area) / self.largest, 1))
        size = np.exp(-((excess / _TOO_LARGE) ** 2))
        slender = np.minimum(1, shapes.ratio / _SLENDER)
        return np.asarray(shapes.fill * size * slender)


class _Level(NamedTuple):
    """Regions above one threshold: label image, areas, likeness, and index at the level below."""

    labels: Labels
    area: Values
    score: Values
    parent: npt.NDArray[np.int64]


def diameters(area: Values) -> Values:
    """Compute the diameters of the circles of given areas.

    Args:
        area: (n,) areas in px.

    Returns:
        (n,) diameters in px.
    """
    return np.asarray(np.sqrt(4 / np.pi * area))


def weighted_median(values: Values, weights: Values) -> float:
    """Return the value at which half of the weight is reached.

    Args:
        values: (n,) values, at least one.
        weights: (n,) positive weights.
    """
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def measure_shapes(labels: Labels, number: int) -> Shapes:
    """Measure the regions of a label image.

    Args:
        labels: (h, w) label image, every number from 1 to `number` in use.
        number: Number of regions.

    Returns:
        Their shapes.
    """
    flat = np.flatnonzero(labels)
    region = labels.ravel()[flat]
    area = np.maximum(np.bincount(region, minlength=number + 1)[1:], 1).astype(np.float64)

    def mean(values: Values) -> Values:
        return np.asarray(np.bincount(region, values, number + 1)[1:] / area)

    y, x = (place.astype(np.float64) for place in np.divmod(flat, labels.shape[1]))
    my, mx = mean(y), mean(x)
    # A pixel is a square, whose own second moment is 1/12.
    vy, vx, vxy = mean(y * y) - my**2 + 1 / 12, mean(x * x) - mx**2 + 1 / 12, mean(x * y) - my * mx
    determinant = np.maximum(vy * vx - vxy**2, 1e-9)
    half = (vy + vx) / 2
    root = np.sqrt(np.maximum(half**2 - determinant, 0))
    ratio = np.sqrt(np.maximum(half - root, 1e-9) / (half + root))
    return Shapes(area, np.minimum(area / (4 * np.pi * np.sqrt(determinant)), 1), ratio)


def fill_holes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Fill what the border of the image cannot be reached from.

    Args:
        mask: (h, w) mask.

    Returns:
        (h, w) mask without holes; much faster than `scipy.ndimage.binary_fill_holes`.
    """
    outside, number = ndimage.label(~mask)
    reached = np.zeros(number + 1, bool)
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        reached[edge] = True
    reached[0] = False
    return np.asarray(~reached[outside])


def choose_regions(
    image: Plane, levels: Sequence[float] | Values, likeness: Likeness
) -> tuple[Labels, int]:
    """Choose the regions most like cells from all thresholds.

    Args:
        image: (h, w) values, bright where cells are.
        levels: Thresholds, ascending.
        likeness: How much a region is like a cell.

    Returns:
        Label image of the chosen regions, numbered from 1, and their number.
    """
    tree = _build_tree(image, levels, likeness)
    chosen = _choose(tree, likeness.gain)
    labels, number = np.zeros(image.shape, np.int32), 0
    open_above = np.ones(0, bool)
    for index, (level, is_best) in enumerate(zip(tree, chosen, strict=True)):
        is_open = open_above[level.parent] if index else np.ones(len(is_best), bool)
        taken = np.flatnonzero(is_open & is_best)
        names = np.zeros(len(is_best) + 1, np.int32)
        names[taken + 1] = np.arange(number + 1, number + 1 + len(taken))
        number += len(taken)
        if len(taken):
            labels = np.maximum(labels, names[level.labels])
        open_above = is_open & ~is_best
    return labels, number


def _build_tree(image: Plane, levels: Sequence[float] | Values, likeness: Likeness) -> list[_Level]:
    tree: list[_Level] = []
    for threshold in levels:
        labels, number = ndimage.label(fill_holes(image > threshold))
        area = np.bincount(labels.ravel(), minlength=number + 1)
        keep = area >= likeness.least_area
        keep[0] = False
        number = int(keep.sum())
        if not number:
            break
        labels = np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
        first = np.zeros(number + 1, np.int64)
        inside = np.flatnonzero(labels)[::-1]
        first[labels.ravel()[inside]] = inside
        parent = tree[-1].labels.ravel()[first[1:]] - 1 if tree else np.zeros(number)
        shapes = measure_shapes(labels, number)
        tree.append(_Level(labels, shapes.area, likeness.score(shapes), parent.astype(np.int64)))
    return tree


def _choose(tree: list[_Level], gain: float) -> list[npt.NDArray[np.bool_]]:
    """Tell of each region whether it is at least as good as the best choice within it."""
    chosen: list[npt.NDArray[np.bool_]] = []
    best = inner_area = np.zeros(0)
    inner: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    for level in reversed(tree):
        number = len(level.score)
        area = np.bincount(inner, inner_area, number)
        within = np.bincount(inner, inner_area * best, number) / np.maximum(area, 1)
        needed = np.where(np.bincount(inner, minlength=number) > 1, gain, 0)
        keep = (area == 0) | (level.score >= within - needed - 1e-9)
        best = np.where(keep, level.score, within)
        inner, inner_area = level.parent, level.area
        chosen.append(keep)
    return chosen[::-1]
