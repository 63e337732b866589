"""Metrics laid out for printing: each beside the trivial priors of the same name."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.classification import MulticlassCalibrationError

from hep2gan.metrics.baselines import (
    CROP_MARGIN,
    constant_mask,
    inscribed_ellipses,
    majority_class,
    otsu_masks,
)
from hep2gan.metrics.boundary import TOLERANCE, mean_boundary
from hep2gan.metrics.classification import ClassificationMetrics, OneVsRestAUROC
from hep2gan.metrics.segmentation import SegmentationMetrics
from hep2gan.runs.predictions import Predictions

BASELINES = ("ellipse", "mean_mask", "otsu", "majority")
"""Priors in the order of a table's columns."""


class MetricRow(NamedTuple):
    """One metric, its value on the test cells, and what the priors score (fractions or pixels)."""

    metric: str
    value: float
    priors: dict[str, float]


def metrics_table(metrics: Mapping[str, float]) -> list[MetricRow]:
    """The `test/` metrics of `score`, in its order, with the priors that exist for each.

    Priors lie in `MetricRow.priors` under names of `BASELINES`. `accuracy_true_mask` has the
    same prior as `accuracy`, and so on for any `<metric>_true_mask`.
    """
    return [
        MetricRow(name, value, _priors(metrics, name.removesuffix("_true_mask")))
        for key, value in metrics.items()
        if (name := key.removeprefix("test/")) != key
    ]


def _priors(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    keys = {prior: f"prior/{prior}_{name}" for prior in BASELINES}
    return {prior: metrics[key] for prior, key in keys.items() if key in metrics}


CHUNK = 256
"""Images scored at a time: bounds memory, changes no digit."""


def compute_test_metrics(
    predictions: Predictions,
    *,
    tolerance: float = TOLERANCE,
    margin: float = CROP_MARGIN,
    margin_share: float = 0.0,
) -> dict[str, float]:
    """All metrics of one run's test cells, beside the trivial priors on the same cells.

    Keys start with `test/` or `prior/`; values are fractions in [0, 1], `hd95` is in raw pixels,
    `test/cells` a count. What a method does not produce is absent, never NaN: no masks without a
    generator, no classes without a classifier, and priors only beside what they are a floor for.
    The order of keys is fixed. tolerance: of boundary F1, raw pixels. margin, margin_share: of the
    ellipse prior. Safe to call on one process of several. Raises Hep2ganError (of
    `Predictions.check`) when the arrays do not fit together.
    """
    predictions.check()
    metrics = {"test/cells": float(len(predictions.label))}
    if predictions.mask is not None:
        metrics |= _segmentation(predictions, tolerance)
        metrics |= _segmentation_priors(predictions, tolerance, margin, margin_share)
    if predictions.probabilities is not None:
        metrics |= _classification(predictions, predictions.probabilities)
    return metrics


def mask_scores(
    predicted: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    crop_size: npt.NDArray[np.int64],
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """`dice`, `dice_pooled`, `jaccard`, `jaccard_pooled`, `boundary_f1`, `hd95` of N masks.

    predicted, truth: (N, H, W). crop_size: (N, 2) raw height and width.
    """
    edge = mean_boundary(predicted, truth, crop_size, tolerance)
    return {**_overlap(predicted, truth), "boundary_f1": edge.f1, "hd95": edge.hd95}


def class_scores(
    probabilities: npt.NDArray[np.float32], label: npt.NDArray[np.int64]
) -> dict[str, float]:
    """`accuracy`, `precision`, `recall`, `f1`, `mean_class_accuracy` of (N, K) probabilities."""
    metric = ClassificationMetrics(probabilities.shape[1], sync_on_compute=False)
    metric.update(torch.from_numpy(probabilities), torch.from_numpy(label))
    return {name: float(value) for name, value in metric.compute().items()}


def _overlap(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> dict[str, float]:
    # Without synchronising: one process of several may be the only one that scores.
    metric = SegmentationMetrics(sync_on_compute=False)
    for start in range(0, len(truth), CHUNK):
        chunk = slice(start, start + CHUNK)
        # A copy, as the constant prior is a read-only view.
        metric.update(torch.tensor(predicted[chunk]), torch.tensor(truth[chunk]))
    return {name: float(value) for name, value in metric.compute().items()}


def _segmentation(predictions: Predictions, tolerance: float) -> dict[str, float]:
    predicted, truth = predictions.foreground, predictions.truth.astype(np.bool_)
    whole = mask_scores(predicted, truth, predictions.crop_size, tolerance)
    metrics = {f"test/{name}": value for name, value in whole.items()}
    for number, name in enumerate(predictions.classes):
        rows = predictions.label == number
        if rows.any():
            metrics[f"test/class/{name}/dice"] = _overlap(predicted[rows], truth[rows])["dice"]
    return metrics


def _segmentation_priors(
    predictions: Predictions, tolerance: float, margin: float, margin_share: float
) -> dict[str, float]:
    truth, crop_size = predictions.truth.astype(np.bool_), predictions.crop_size
    height, width = truth.shape[1:]
    priors = {"ellipse": inscribed_ellipses(crop_size, (height, width), margin, margin_share)}
    if predictions.mean_mask is not None:
        priors["mean_mask"] = np.broadcast_to(constant_mask(predictions.mean_mask), truth.shape)
    found = {prior: mask_scores(m, truth, crop_size, tolerance) for prior, m in priors.items()}
    # Overlap alone: the outlines of scattered pixels cost seconds and say nothing more.
    found["otsu"] = _overlap(otsu_masks(predictions.image), truth)
    return {f"prior/{prior}_{name}": v for prior, own in found.items() for name, v in own.items()}


def _classification(
    predictions: Predictions, probabilities: npt.NDArray[np.float32]
) -> dict[str, float]:
    label = predictions.label
    metrics = {f"test/{k}": v for k, v in class_scores(probabilities, label).items()}
    metrics |= _ranking(probabilities, label)
    if predictions.probabilities_true_mask is not None:
        true_mask = class_scores(predictions.probabilities_true_mask, label)
        metrics["test/accuracy_true_mask"] = true_mask["accuracy"]
    for number, name in enumerate(predictions.classes):
        rows = label == number
        if rows.any():
            recall = float((predictions.predicted[rows] == number).mean())
            metrics[f"test/class/{name}/recall"] = recall
    if predictions.train_counts is not None:
        constant = class_scores(majority_class(predictions.train_counts, len(label)), label)
        metrics |= {f"prior/majority_{k}": v for k, v in constant.items()}
    return metrics


def _ranking(
    probabilities: npt.NDArray[np.float32], label: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Macro one-vs-rest AUROC, where two classes occur, and expected calibration error."""
    scores, labels = torch.from_numpy(probabilities), torch.from_numpy(label)
    classes = probabilities.shape[1]
    area = OneVsRestAUROC(classes, sync_on_compute=False)
    area.update(scores, labels)
    auroc = float(area.compute().nanmean())
    calibration = MulticlassCalibrationError(classes, n_bins=15, sync_on_compute=False)
    calibration.update(scores.clamp(0, 1), labels)
    metrics = {"test/calibration_error": float(calibration.compute())}
    return metrics if np.isnan(auroc) else {"test/auroc": auroc, **metrics}
