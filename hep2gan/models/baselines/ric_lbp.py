"""RIC-LBP: rotation-invariant co-occurrence of local binary patterns.

R. Nosaka, K. Fukui: HEp-2 cell classification using rotation invariant co-occurrence among local
binary patterns, Pattern Recognition 47(7), 2014.
"""

import numpy as np
import numpy.typing as npt

SCALES = ((1, 2), (2, 4), (4, 8))
"""Pairs (s, r): distance of a pixel's neighbours, and of the two pixels of a pair, in pixels."""
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Rows and columns of one step at 0°, 45°, … 315°."""


def _bins() -> npt.NDArray[np.int64]:
    """Bin 0..135 of each pair of patterns, at 16 · first + second.

    Turned by 180°, the pair (a, b) is (b', a') with each pattern's bits moved on by two: one bin.
    """
    first, second = np.divmod(np.arange(256), 16)
    turned = (np.arange(16) << 2 | np.arange(16) >> 2) & 15
    lowest = np.minimum(16 * first + second, 16 * turned[second] + turned[first])
    return np.unique(lowest, return_inverse=True)[1].astype(np.int64)


_BIN = _bins()
BINS = int(_BIN.max()) + 1


def ric_lbp_features(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Describe (h, w) grey levels by a histogram of 136 bins for each of `SCALES`: (408,).

    A pattern at direction θ holds one bit for each of the neighbours at θ, θ + 90°, θ + 180° and
    θ + 270°: whether it is as bright as the pixel. Pairs lie at 0°, 45°, 90° and 135°, on the pixel
    grid, so that a diagonal step is √2 long. Each histogram sums to 1; where the image has no room
    for a pair it is zero.
    """
    return np.concatenate([_histogram(image, s, r) for s, r in SCALES])


def _histogram(image: npt.NDArray[np.float32], s: int, r: int) -> npt.NDArray[np.float32]:
    counts = np.zeros(BINS)
    if min(image.shape) > 2 * s:
        brighter = [_brighter_neighbours(image, s, step) for step in _STEPS]
        for direction in range(4):
            bits = [brighter[(direction + turn) % 8] for turn in (0, 2, 4, 6)]
            pattern = sum(bit.astype(np.int64) << place for place, bit in enumerate(bits))
            first, second = label_pairs(np.asarray(pattern), r, direction)
            counts += np.bincount(_BIN[16 * first + second].ravel(), minlength=BINS)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


def _brighter_neighbours(
    image: npt.NDArray[np.float32], s: int, step: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Whether the neighbour `s` steps away is as bright as the pixel, s pixels off the border."""
    height, width = image.shape
    row, column = s + s * step[0], s + s * step[1]
    neighbour = image[row : row + height - 2 * s, column : column + width - 2 * s]
    return np.asarray(neighbour >= image[s : height - s, s : width - s])


def label_pairs(
    labels: npt.NDArray[np.int64], distance: int, direction: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels of all pairs of pixels of an (h, w) map, `distance` steps apart at 45° · direction.

    Returns the first and the second of each pair, in two arrays of one shape; empty ones where the
    map is too small.
    """
    down, right = (distance * step for step in _STEPS[direction])
    height, width = labels.shape

    def cut(down: int, right: int) -> npt.NDArray[np.int64]:
        return labels[
            max(-down, 0) : max(height - max(down, 0), 0),
            max(-right, 0) : max(width - max(right, 0), 0),
        ]

    return cut(down, right), cut(-down, -right)
