"""Boundary F1 and Hausdorff distance of masks, in pixels of the raw crop."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from hep2gan.errors import Hep2ganError

BinaryMask = npt.NDArray[np.bool_]
OutlineDistances = npt.NDArray[np.float64]

TOLERANCE = 2.0
"""Tolerated distance of outlines in raw pixels: about 4 % of a nucleus' diameter.

Csurka et al. take 0.75 % of the image diagonal, 0.7 px in a cell crop: less than the pixel in
which the true masks were annotated.
"""

_FEW_PAIRS = 40_000
"""Number of pairs of outline pixels up to which brute force beats two distance transforms."""


class BoundaryScores(NamedTuple):
    """Scores of one image, or their mean over images.

    Attributes:
        f1: Boundary F1 in [0, 1].
        hd95: 95 % Hausdorff distance in raw pixels.
    """

    f1: float
    hd95: float


def mask_outline(mask: BinaryMask) -> BinaryMask:
    """Find the foreground pixels that touch the background or the edge of the image.

    Args:
        mask: (H, W) foreground.

    Returns:
        (H, W) outline.
    """
    # np.pad takes as long as a whole distance transform of a cell.
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.bool_)
    padded[1:-1, 1:-1] = mask
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def outline_distances(
    predicted: BinaryMask, truth: BinaryMask, spacing: tuple[float, float] = (1.0, 1.0)
) -> tuple[OutlineDistances, OutlineDistances]:
    """Measure the distances from each outline's pixels to the other outline.

    Args:
        predicted: (H, W) mask, not empty.
        truth: (H, W) mask, not empty.
        spacing: Raw pixels from row to row and from column to column.

    Returns:
        Distances (P,) of the P predicted outline pixels and (T,) of the T true ones.
    """
    box = _bounding_box(predicted | truth)
    ours, theirs = mask_outline(predicted[box]), mask_outline(truth[box])
    if np.count_nonzero(ours) * np.count_nonzero(theirs) <= _FEW_PAIRS:
        return _nearest(ours, theirs, spacing)
    return (
        distance_transform_edt(~theirs, sampling=spacing)[ours],
        distance_transform_edt(~ours, sampling=spacing)[theirs],
    )


def _nearest(
    ours: BinaryMask, theirs: BinaryMask, spacing: tuple[float, float]
) -> tuple[OutlineDistances, OutlineDistances]:
    """Measure all pairs of pixels, with the same terms, hence bits, as the distance transform."""
    (our_rows, our_columns), (their_rows, their_columns) = np.nonzero(ours), np.nonzero(theirs)
    squares = np.square((our_rows[:, None] - their_rows) * spacing[0])
    squares += np.square((our_columns[:, None] - their_columns) * spacing[1])
    return np.sqrt(squares.min(axis=1)), np.sqrt(squares.min(axis=0))


def boundary_scores(
    predicted: BinaryMask,
    truth: BinaryMask,
    crop_size: tuple[float, float],
    tolerance: float = TOLERANCE,
    percentile: float = 95.0,
) -> BoundaryScores:
    """Compute boundary F1 and Hausdorff distance of one image.

    F1 is the harmonic mean of the share of predicted outline pixels within `tolerance` raw pixels
    of the true outline, and of the share of true ones near the predicted outline (Csurka et al.,
    "What is a good evaluation measure for semantic segmentation?", BMVC 2013). The distance is the
    larger of the two directed 95th percentiles (Maier-Hein et al., "Metrics reloaded", Nature
    Methods 2024). Two empty masks score (1, 0); one empty mask scores 0 and the crop's diagonal.

    Args:
        predicted: (H, W) mask of a resized crop.
        truth: (H, W) true mask.
        crop_size: Height and width of the crop in raw pixels.
        tolerance: Tolerance of F1 in raw pixels.
        percentile: Percentile of the distances, from 0 to 100.
    """
    if not predicted.any() and not truth.any():
        return BoundaryScores(1.0, 0.0)
    if not predicted.any() or not truth.any():
        return BoundaryScores(0.0, float(np.hypot(*crop_size)))
    spacing = (crop_size[0] / truth.shape[0], crop_size[1] / truth.shape[1])
    to_truth, to_predicted = outline_distances(predicted, truth, spacing)
    precision = float((to_truth <= tolerance).mean())
    recall = float((to_predicted <= tolerance).mean())
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    hd95 = max(_percentile(to_truth, percentile), _percentile(to_predicted, percentile))
    return BoundaryScores(f1, hd95)


def _percentile(values: OutlineDistances, percentile: float) -> float:
    """Compute numpy.percentile to the last bit, without its checks, which dominate the time."""
    position = (len(values) - 1) * (percentile / 100)
    below, ordered = int(position), np.sort(values)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(values) - 1)])
    share = position - below
    # Interpolated from the nearer end, as by numpy.
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def mean_boundary(
    predicted: BinaryMask,
    truth: BinaryMask,
    crop_size: npt.NDArray[np.int64],
    tolerance: float = TOLERANCE,
) -> BoundaryScores:
    """Average `boundary_scores` over N images.

    Args:
        predicted: (N, H, W) masks of resized crops.
        truth: (N, H, W) true masks.
        crop_size: (N, 2) height and width of the raw crops in pixels.
        tolerance: Tolerance of F1 in raw pixels.

    Raises:
        Hep2ganError: If the shapes do not fit together or N is 0.
    """
    if predicted.shape != truth.shape or crop_size.shape != (len(truth), 2) or not len(truth):
        raise Hep2ganError(
            f"masks are {predicted.shape} and {truth.shape}, crop sizes {crop_size.shape}",
            "they must be (N, H, W), (N, H, W) and (N, 2) with N at least 1",
        )
    rows = [
        boundary_scores(mask, true, (float(height), float(width)), tolerance)
        for mask, true, (height, width) in zip(predicted, truth, crop_size, strict=True)
    ]
    f1, hd95 = np.mean(rows, axis=0)
    return BoundaryScores(float(f1), float(hd95))


def _bounding_box(mask: BinaryMask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
