"""How many cells each class and each specimen gets."""

from collections.abc import Sequence

import numpy as np

from hep2gan.data.dealing import shares
from hep2gan.data.patterns import ICPR2016
from hep2gan.errors import Hep2ganError

SPECIMENS = (16, 16, 16, 16, 15, 4)
"""Specimens per class in the real set."""


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Share `total` out by largest remainder; everyone gets one where there are enough.

    >>> apportion(10, [6, 3, 0.1])
    [6, 3, 1]
    """
    counts = shares(np.asarray(weights, np.float64), total)
    while total >= len(counts) and counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return [int(count) for count in counts]


def class_counts(count: int) -> list[int]:
    """Cells per class when the real set's 13,596 are scaled to `count`.

    Raises Hep2ganError when `count` is below 1.
    """
    if count < 1:
        raise Hep2ganError(f"{count} drawn cells", "at least 1 is needed", "choose 1000, say")
    return apportion(count, [pattern.count for pattern in ICPR2016])


def specimen_count(label: int, cells: int) -> int:
    """Specimens of a class with so many cells: a dozen cells each, from 3 up to the real number."""
    return min(SPECIMENS[label], max(min(3, cells), cells // 12))


def specimen_sizes(cells: int, weights: Sequence[float], *, twins: bool) -> list[int]:
    """Cells of each specimen of a class; with `twins` the second and the third get equally many."""
    if not cells:
        return []
    sizes = apportion(cells, weights)
    if twins:
        half, odd = divmod(sizes[1] + sizes[2], 2)
        sizes[1] = sizes[2] = half
        sizes[0] += odd
    return sizes
