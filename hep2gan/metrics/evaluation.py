"""Metrics of a run's test cells, each beside the trivial baselines on the same cells."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.metrics.baselines import (
    BASELINES,
    CROP_MARGIN,
    inscribed_ellipses,
    majority_class,
    otsu_masks,
)
from hep2gan.metrics.boundary import TOLERANCE, mean_boundary
from hep2gan.metrics.classification import ClassificationMetrics, one_vs_rest_auroc
from hep2gan.metrics.segmentation import SegmentationMetrics
from hep2gan.runs.predictions import Predictions, find_subgroups
from hep2gan.statistics.calibration import expected_calibration_error, reliability
from hep2gan.statistics.trust import risk_of, scale_test


class MetricRow(NamedTuple):
    """One metric beside its baselines.

    Attributes:
        metric: Its name, without `test/`.
        value: Its value on the test cells.
        baselines: Values of the baselines on the same cells, by the names in `BASELINES`.
    """

    metric: str
    value: float
    baselines: dict[str, float]


def metrics_table(metrics: Mapping[str, float]) -> list[MetricRow]:
    """Arrange the `test/` metrics of `compute_test_metrics`, each beside its baselines.

    Args:
        metrics: Metrics of one run, by key.

    Returns:
        Rows in the order of `metrics`. A metric `<name>_true_mask` has the baselines of `<name>`.
    """
    return [
        MetricRow(name, value, _baselines(metrics, name.removesuffix("_true_mask")))
        for key, value in metrics.items()
        if (name := key.removeprefix("test/")) != key
    ]


def _baselines(metrics: Mapping[str, float], metric: str) -> dict[str, float]:
    keys = {baseline: f"baseline/{baseline}_{metric}" for baseline in BASELINES}
    return {baseline: metrics[key] for baseline, key in keys.items() if key in metrics}


CHUNK = 256
"""Images scored at a time: bounds memory, does not affect results."""


def compute_test_metrics(
    predictions: Predictions,
    *,
    tolerance: float = TOLERANCE,
    margin: float = CROP_MARGIN,
    margin_share: float = 0.0,
) -> dict[str, float]:
    """Compute all metrics of one run's test cells, and the trivial baselines on the same cells.

    May be called on one of several processes alone.

    Args:
        predictions: Predictions for the test cells.
        tolerance: Tolerance of boundary F1 in raw pixels.
        margin: Margin of the ellipse on each side of the crop in raw pixels.
        margin_share: Additional margin, as a share of the crop's side.

    Returns:
        Fractions in [0, 1], `hd95` in raw pixels, `test/cells` a count, in a fixed order under keys
        that start with `test/` or `baseline/`; those of subgroups are as
        `test/intensity/positive/accuracy`. What a method does not produce is absent, never NaN:
        no scores of masks without generated and true ones, no classes without a classifier, and
        baselines only for metrics that are present.

    Raises:
        Hep2ganError: If the arrays do not fit together, as `Predictions.check`.
    """
    predictions.check()
    metrics = {"test/cells": float(len(predictions.label))}
    if predictions.mask is not None and predictions.truth is not None:
        scores = _mask_scores(predictions.foreground, predictions.truth, predictions, tolerance)
        metrics |= _overall("test/", scores) | _by_class(scores, "dice")
        metrics |= _mask_baselines(predictions, predictions.truth, tolerance, margin, margin_share)
    if predictions.probabilities is not None:
        metrics |= _classification(predictions, predictions.probabilities)
    return metrics | _by_subgroup(predictions)


_SUBGROUP_SCORES = ("accuracy", "mean_class_accuracy", "f1")


def _by_subgroup(predictions: Predictions) -> dict[str, float]:
    """Scores of the cells of each intensity, or of each pattern, e.g. test/intensity/positive/…"""
    metrics: dict[str, float] = {}
    dice = predictions.dice
    for kind, name, rows in find_subgroups(predictions):
        prefix = f"test/{kind}/{name}"
        metrics[f"{prefix}/cells"] = float(len(rows))
        if predictions.probabilities is not None:
            scores = _class_scores(predictions.probabilities[rows], predictions, rows)
            metrics |= {f"{prefix}/{score}": scores[score] for score in _SUBGROUP_SCORES}
        if dice is not None:
            metrics[f"{prefix}/dice"] = float(dice[rows].mean())
    return metrics


def _mask_baselines(
    predictions: Predictions,
    truth: npt.NDArray[np.uint8],
    tolerance: float,
    margin: float,
    margin_share: float,
) -> dict[str, float]:
    crop_size, (cells, height, width) = predictions.crop_size, truth.shape
    masks = {"ellipse": inscribed_ellipses(crop_size, (height, width), margin, margin_share)}
    if predictions.mean_mask is not None:
        masks["mean_mask"] = np.broadcast_to(predictions.mean_mask >= 0.5, (cells, height, width))
    metrics: dict[str, float] = {}
    for name, mask in masks.items():
        metrics |= _overall(f"baseline/{name}_", _mask_scores(mask, truth, predictions, tolerance))
    # Only overlap: outlines of scattered pixels take seconds and add no information.
    return metrics | _overall(
        "baseline/otsu_", _overlap(otsu_masks(predictions.image), truth, predictions)
    )


def _mask_scores(
    predicted: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.uint8],
    predictions: Predictions,
    tolerance: float,
) -> dict[str, float]:
    edge = mean_boundary(predicted, truth.astype(np.bool_), predictions.crop_size, tolerance)
    return {**_overlap(predicted, truth, predictions), "boundary_f1": edge.f1, "hd95": edge.hd95}


def _overlap(
    predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.uint8], predictions: Predictions
) -> dict[str, float]:
    # Not synchronised, since it may be called on one of several processes alone.
    metric = SegmentationMetrics(predictions.classes, sync_on_compute=False)
    for start in range(0, len(predicted), CHUNK):
        chunk = slice(start, start + CHUNK)
        parts = (predicted[chunk], truth[chunk], predictions.label[chunk])
        # Copies, as the mean mask is a read-only view.
        metric.update(*map(torch.tensor, parts))
    return metric.compute()


def _classification(
    predictions: Predictions, probabilities: npt.NDArray[np.float32]
) -> dict[str, float]:
    label = predictions.label
    scores = _class_scores(probabilities, predictions)
    metrics = _overall("test/", scores)
    areas = one_vs_rest_auroc(torch.from_numpy(probabilities), torch.from_numpy(label))
    if not areas.isnan().all():
        metrics["test/auroc"] = float(areas.nanmean())
    metrics["test/calibration_error"] = expected_calibration_error(
        reliability(probabilities, label)
    )
    scaled = scale_test(predictions)
    if scaled is not None:
        metrics["test/calibration_error_scaled"] = expected_calibration_error(
            reliability(scaled.probabilities, label)
        )
    metrics["test/aurc"] = risk_of(predictions, scaled).area
    if predictions.probabilities_true_mask is not None:
        true_mask = _class_scores(predictions.probabilities_true_mask, predictions)
        metrics["test/accuracy_true_mask"] = true_mask["accuracy"]
    metrics |= _by_class(scores, "recall")
    if predictions.train_counts is not None:
        constant = majority_class(predictions.train_counts, len(label))
        metrics |= _overall("baseline/majority_", _class_scores(constant, predictions))
    return metrics


def _class_scores(
    probabilities: npt.NDArray[np.float32],
    predictions: Predictions,
    rows: npt.NDArray[np.int64] | slice = slice(None),
) -> dict[str, float]:
    metric = ClassificationMetrics(predictions.classes, sync_on_compute=False)
    metric.update(torch.from_numpy(probabilities), torch.from_numpy(predictions.label[rows]))
    return metric.compute()


def _overall(prefix: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in scores.items() if "/" not in name}


def _by_class(scores: Mapping[str, float], metric: str) -> dict[str, float]:
    return {
        f"test/class/{name.partition('/')[2]}/{metric}": value
        for name, value in scores.items()
        if "/" in name
    }
