"""Cells found in a field against its true ones: one-to-one matches by IoU, and scores of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from hep2gan.errors import Hep2ganError

Labels = npt.NDArray[np.int32]
"""(h, w) label image: 0 is background, each cell has a number from 1 of its own."""


class Pair(NamedTuple):
    """A true cell and the one that was found for it.

    Attributes:
        truth: Number of the true cell.
        found: Number of the found cell.
        iou: |A∩B| / |A∪B| of their pixels.
    """

    truth: int
    found: int
    iou: float

    @property
    def dice(self) -> float:
        """2|A∩B| / (|A| + |B|), which is 2 IoU / (1 + IoU)."""
        return 2 * self.iou / (1 + self.iou)


@dataclass(frozen=True)
class Matches:
    """Which cells of one field were found.

    Attributes:
        pairs: True cells that were found, in the order of their numbers.
        missed: Numbers of the true cells that were not.
        extra: Numbers of the found cells that are no true one.
        left_out: Pairs of true cells that are not scored.
    """

    pairs: tuple[Pair, ...]
    missed: tuple[int, ...]
    extra: tuple[int, ...]
    left_out: tuple[Pair, ...] = ()


class _Overlaps(NamedTuple):
    """Pairs of cells with common pixels: their numbers, common pixels and IoU, each (P,)."""

    truth: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    common: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]


def match_instances(
    truth: Labels, found: Labels, threshold: float = 0.5, left_out: Collection[int] = ()
) -> Matches:
    """Match found cells with true ones, one to one.

    A true and a found cell can be a pair if their IoU is at least the threshold. Above 0.5 a cell
    has one such partner at most; else there are as many pairs as possible, and of these choices
    the one with the greatest sum of IoU.

    Args:
        truth: True label image.
        found: Found label image of the same shape.
        threshold: Smallest IoU of a pair, above 0 and up to 1.
        left_out: Numbers of true cells that are not scored. They are matched like the others; then
            neither they nor the cells found for them count, nor does an extra cell that has more
            than half of its pixels on them.

    Returns:
        The pairs, and the cells without a partner.

    Raises:
        Hep2ganError: The shapes differ, or the threshold is out of bounds.
    """
    if truth.shape != found.shape:
        raise Hep2ganError(
            f"true labels are {truth.shape}, found ones {found.shape}",
            "both must be (h, w) of one field",
        )
    if not 0 < threshold <= 1:
        raise Hep2ganError(f"the IoU threshold is {threshold}", "it must be above 0 and up to 1")
    size = np.bincount(found.ravel())
    overlaps = _overlaps(truth, found, size)
    pairs = _assign(overlaps, threshold)
    unscored = set(left_out)
    partner = {pair.truth: pair for pair in pairs}
    taken = {pair.found for pair in pairs}
    covered = np.zeros(len(size))
    on_unscored = np.isin(overlaps.truth, list(unscored))
    np.add.at(covered, overlaps.found[on_unscored], overlaps.common[on_unscored])
    return Matches(
        pairs=tuple(pair for pair in pairs if pair.truth not in unscored),
        missed=tuple(
            number for number in _numbers(truth) if number not in partner and number not in unscored
        ),
        extra=tuple(
            number
            for number in _numbers(found)
            if number not in taken and 2 * covered[number] <= size[number]
        ),
        left_out=tuple(pair for pair in pairs if pair.truth in unscored),
    )


def average_precision(*fields: Matches) -> float:
    """Compute TP / (TP + FP + FN) over all cells of all fields.

    It is what publications on finding cells call average precision at one IoU threshold (Caicedo
    et al. 2019, Stringer et al. 2021), and is not the area under a curve.

    Args:
        fields: Matches of each field.

    Returns:
        A value in [0, 1]; 1 where there is nothing to find and nothing was found.
    """
    right, extra, missed = count_matches(*fields)
    return _ratio(right, right + extra + missed)


def f1_score(*fields: Matches) -> float:
    """Compute 2 TP / (2 TP + FP + FN) over all cells of all fields.

    Args:
        fields: Matches of each field.

    Returns:
        A value in [0, 1]; 1 where there is nothing to find and nothing was found.
    """
    right, extra, missed = count_matches(*fields)
    return _ratio(2 * right, 2 * right + extra + missed)


def count_matches(*fields: Matches) -> tuple[int, int, int]:
    """Count the pairs (TP), extra cells (FP) and missed cells (FN) of all fields.

    Args:
        fields: Matches of each field.
    """
    return (
        sum(len(one.pairs) for one in fields),
        sum(len(one.extra) for one in fields),
        sum(len(one.missed) for one in fields),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _numbers(labels: Labels) -> list[int]:
    return [number for number in np.unique(labels).tolist() if number]


def _overlaps(truth: Labels, found: Labels, size: npt.NDArray[np.int64]) -> _Overlaps:
    """List all pairs of cells with common pixels, in the order of the true ones."""
    both = (truth > 0) & (found > 0)
    codes = truth[both].astype(np.int64) * len(size) + found[both]
    code, common = np.unique(codes, return_counts=True)
    row, column = np.divmod(code, len(size))
    true_size = np.bincount(truth.ravel())
    iou = common / (true_size[row] + size[column] - common)
    return _Overlaps(row, column, common.astype(np.int64), iou)


def _assign(overlaps: _Overlaps, threshold: float) -> list[Pair]:
    """Choose the pairs: most of them, then the greatest sum of IoU."""
    keep = overlaps.iou >= threshold
    truth, found, iou = overlaps.truth[keep], overlaps.found[keep], overlaps.iou[keep]
    if threshold <= 0.5 and len(iou):
        rows, row = np.unique(truth, return_inverse=True)
        columns, column = np.unique(found, return_inverse=True)
        # The sum of all IoU is less than one more pair is worth.
        bonus = 1 + min(len(rows), len(columns))
        worth = np.zeros((len(rows), len(columns)))
        worth[row, column] = bonus + iou
        chosen = set(zip(*linear_sum_assignment(worth, maximize=True), strict=True))
        keep = np.array([place in chosen for place in zip(row, column, strict=True)])
        truth, found, iou = truth[keep], found[keep], iou[keep]
    return [Pair(*one) for one in zip(truth.tolist(), found.tolist(), iou.tolist(), strict=True)]
