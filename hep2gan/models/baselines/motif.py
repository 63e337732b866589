"""Motif co-occurrence: through each 2 × 2 pixels the smoothest scan, counted in pairs.

N. Jhanwar, S. Chaudhuri, G. Seetharaman, B. Zavidovique: Content based image retrieval using motif
cooccurrence matrix, Image and Vision Computing 22(14), 2004.
"""

from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt

from hep2gan.models.baselines.ric_lbp import label_pairs

DISTANCES = (1, 2, 4)
"""Of the two windows of a pair, in pixels."""
SCANS = tuple((0, *rest) for rest in permutations((1, 2, 3)))
"""The six ways through a window from its top left: 0 1 above 2 3."""
BINS = len(SCANS) * (len(SCANS) + 1) // 2


def _bins() -> npt.NDArray[np.int64]:
    """Bin 0..20 of each unordered pair of scans, at 6 · first + second."""
    first, second = np.divmod(np.arange(len(SCANS) ** 2), len(SCANS))
    lowest = np.minimum(len(SCANS) * first + second, len(SCANS) * second + first)
    return np.unique(lowest, return_inverse=True)[1].astype(np.int64)


_BIN = _bins()


def motif_labels(image: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Number 0..5 of the scan that each 2 × 2 window takes, (h − 1, w − 1); windows overlap.

    It is the one along which grey levels change least, Σ|Δ|; of equals the first in `SCANS`.
    """
    corners = (image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:])
    change = {(a, b): np.abs(corners[a] - corners[b]) for a in range(4) for b in range(a + 1, 4)}
    lengths = [sum(change[min(a, b), max(a, b)] for a, b in pairwise(scan)) for scan in SCANS]
    return np.asarray(np.argmin(lengths, axis=0), np.int64)


def motif_features(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Describe (h, w) grey levels by a histogram of 21 pairs for each of `DISTANCES`: (63,).

    Pairs of windows lie at 0°, 45°, 90° and 135°. Each histogram sums to 1; where the image has no
    room for a pair it is zero.
    """
    labels = motif_labels(image)
    return np.concatenate([_histogram(labels, distance) for distance in DISTANCES])


def _histogram(labels: npt.NDArray[np.int64], distance: int) -> npt.NDArray[np.float32]:
    counts = np.zeros(BINS)
    for direction in range(4):
        first, second = label_pairs(labels, distance, direction)
        pairs = _BIN[len(SCANS) * first + second]
        counts += np.bincount(pairs.ravel(), minlength=BINS)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)
