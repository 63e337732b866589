"""Two descriptions of texture by pairs of pixels: RIC-LBP and motif co-occurrence.

RIC-LBP, rotation-invariant co-occurrence of local binary patterns: R. Nosaka, K. Fukui: HEp-2 cell
classification using rotation invariant co-occurrence among local binary patterns, Pattern
Recognition 47(7), 2014.

Motif co-occurrence, through each 2 × 2 pixels the smoothest scan, counted in pairs: N. Jhanwar,
S. Chaudhuri, G. Seetharaman, B. Zavidovique: Content based image retrieval using motif cooccurrence
matrix, Image and Vision Computing 22(14), 2004.
"""

import math
from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

SCALES = ((1, 2), (2, 4), (4, 8))
"""Pairs (s, r): distance of a pixel's neighbours, and of the two pixels of a pair, in pixels."""
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Rows and columns of one step at 0°, 45°, … 315°."""


def _bins(partner: Labels) -> Labels:
    """Bin of each pair of labels (a, b) of n, at n · a + b: one with (partner[b], partner[a])."""
    count = len(partner)
    first, second = np.divmod(np.arange(count**2), count)
    lowest = np.minimum(count * first + second, count * partner[second] + partner[first])
    return np.unique(lowest, return_inverse=True)[1].astype(np.int64)


PATTERN_BIN = _bins((np.arange(16) << 2 | np.arange(16) >> 2) & 15)
"""Bins 0..135. Turned by 180°, a pair (a, b) is (b', a'), with the bits of each rotated by two."""


def ric_lbp_features(image: Grey) -> Grey:
    """Describe grey levels by a histogram of 136 bins for each of `SCALES`.

    A pattern at direction θ holds one bit for each of the neighbours at θ, θ + 90°, θ + 180° and θ
    + 270°: whether it is as bright as the pixel. Pairs lie at 0°, 45°, 90° and 135°, on the pixel
    grid, so that a diagonal step is √2 long.

    Args:
        image: (h, w) grey image.

    Returns:
        (408,) features. Each histogram sums to 1; it is zero if the image has no room for a pair.
    """
    return np.concatenate([_histogram(_patterns(image, s), r, PATTERN_BIN) for s, r in SCALES])


def _patterns(image: Grey, s: int) -> list[Labels]:
    """Maps of patterns at 0°, 45°, 90° and 135°; none where the image has no room for any."""
    if min(image.shape) <= 2 * s:
        return []
    brighter = [_brighter_neighbours(image, s, step).astype(np.int64) for step in _STEPS]
    return [
        np.asarray(sum(brighter[(start + 2 * bit) % 8] << bit for bit in range(4)))
        for start in range(4)
    ]


def _histogram(maps: Sequence[Labels], distance: int, bins: Labels) -> Grey:
    """Count the pairs of labels at direction 0, 1, … in the map of that number; sum 1, or zeros."""
    counts = np.zeros(bins.max() + 1)
    for direction, labels in enumerate(maps):
        first, second = label_pairs(labels, distance, direction)
        pairs = bins[math.isqrt(len(bins)) * first + second]
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


def _brighter_neighbours(image: Grey, s: int, step: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether the neighbour `s` steps away is as bright as the pixel, s pixels off the border."""
    height, width = image.shape
    row, column = s + s * step[0], s + s * step[1]
    neighbour = image[row : row + height - 2 * s, column : column + width - 2 * s]
    return np.asarray(neighbour >= image[s : height - s, s : width - s])


def label_pairs(labels: Labels, distance: int, direction: int) -> tuple[Labels, Labels]:
    """Find all pairs of pixels of a map at a given distance and direction.

    Args:
        labels: (h, w) map.
        distance: Number of steps between the two pixels.
        direction: Number 0..7 of the direction, 45° · direction.

    Returns:
        Labels of the first and of the second pixel of each pair, in two arrays of one shape; empty
        if the map is too small.
    """
    down, right = (distance * step for step in _STEPS[direction])
    height, width = labels.shape

    def cut(down: int, right: int) -> Labels:
        return labels[
            max(-down, 0) : max(height - max(down, 0), 0),
            max(-right, 0) : max(width - max(right, 0), 0),
        ]

    return cut(down, right), cut(-down, -right)


DISTANCES = (1, 2, 4)
"""Distances of the two windows of a pair in pixels."""
SCANS = tuple((0, *rest) for rest in permutations((1, 2, 3)))
"""The six orders in which a window 0 1 above 2 3 is scanned from its top left."""
MOTIF_BIN = _bins(np.arange(len(SCANS)))
"""Bins 0..20 of unordered pairs of scans."""


def motif_labels(image: Grey) -> Labels:
    """Label each 2 × 2 window with its scan; windows overlap.

    The scan is the one along which grey levels change least, Σ|Δ|; of equals the first in `SCANS`.

    Args:
        image: (h, w) grey image.

    Returns:
        (h − 1, w − 1) numbers 0..5 of scans.
    """
    corners = (image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:])
    change = {(a, b): np.abs(corners[a] - corners[b]) for a in range(4) for b in range(a + 1, 4)}
    lengths = [sum(change[min(a, b), max(a, b)] for a, b in pairwise(scan)) for scan in SCANS]
    return np.asarray(np.argmin(lengths, axis=0), np.int64)


def motif_features(image: Grey) -> Grey:
    """Describe grey levels by a histogram of 21 pairs of scans for each of `DISTANCES`.

    Pairs of windows lie at 0°, 45°, 90° and 135°.

    Args:
        image: (h, w) grey image.

    Returns:
        (63,) features. Each histogram sums to 1; it is zero if the image has no room for a pair.
    """
    maps = [motif_labels(image)] * 4
    return np.concatenate([_histogram(maps, distance, MOTIF_BIN) for distance in DISTANCES])
