"""Scores of masks cell by cell, of generated masks and of those that learn nothing.

Their means are those of `metrics.evaluation`; cell by cell two of them can be tested in pairs.
"""

import numpy as np
import numpy.typing as npt

from hep2gan.metrics.baselines import inscribed_ellipses, otsu_masks
from hep2gan.metrics.boundary import boundary_scores
from hep2gan.runs.predictions import Predictions

Floats = npt.NDArray[np.float64]


def outline_scores(
    masks: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], crop_size: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Score the outlines of N masks.

    Args:
        masks: (N, H, W) masks of resized crops.
        truth: (N, H, W) true masks.
        crop_size: (N, 2) height and width of the raw crops in pixels.

    Returns:
        (N,) boundary F1, and (N,) 95 % Hausdorff distances in raw pixels.
    """
    scores = np.array(
        [
            boundary_scores(mask, true, (float(height), float(width)))
            for mask, true, (height, width) in zip(masks, truth, crop_size, strict=True)
        ]
    ).reshape(-1, 2)
    return scores[:, 0], scores[:, 1]


def baseline_scores(predictions: Predictions) -> npt.NDArray[np.void] | None:
    """Score the masks of the trivial baselines on the cells of a run.

    Args:
        predictions: Predictions of the run.

    Returns:
        (N,) records, their fields named as in metrics.json without `baseline/`: `ellipse_dice`, …;
        None without true masks, or where the margin of the crops is not recorded.
    """
    if predictions.truth is None or predictions.crop_margin is None:
        return None
    truth, sizes = predictions.truth > 0, predictions.crop_size
    pixels, share = predictions.crop_margin.tolist()
    masks = {"ellipse": inscribed_ellipses(sizes, truth.shape[1:], pixels, share)}
    if predictions.mean_mask is not None:
        masks["mean_mask"] = np.broadcast_to(predictions.mean_mask >= 0.5, truth.shape)
    found: dict[str, Floats] = {}
    for name, mask in masks.items():
        found |= _overlap(name, mask, truth)
        found[f"{name}_boundary_f1"], found[f"{name}_hd95"] = outline_scores(mask, truth, sizes)
    found |= _overlap("otsu", otsu_masks(predictions.image), truth)
    records = np.zeros(len(truth), [(name, np.float64) for name in found])
    for name, values in found.items():
        records[name] = values
    return records


def _overlap(
    name: str, masks: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
) -> dict[str, Floats]:
    sizes = masks.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    both = (masks & truth).sum(axis=(1, 2))
    dice = np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)
    return {f"{name}_dice": dice, f"{name}_jaccard": dice / (2 - dice)}
