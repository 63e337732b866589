"""Scores of the validation part, the same to the last bit over any batches and processes."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.classification import ClassificationMetrics
from hep2gan.metrics.segmentation import SegmentationMetrics

DISTANCE_UNIT_BITS = 20
"""Squared distances are summed as int64 multiples of 2^-20, independent of the order."""

CAP = 2.0**24
"""Larger or infinite squared distances count as this, so that sums stay within int64."""


class MeanDistances(Metric):
    """Mean squared distances of features to the own class's mean and to the nearest other mean.

    The distances are those of a Gaussian mixture (eq. 6), in its own covariance. The mixture
    separates the classes if `own_distance` falls and `other_distance` stays above it. Up to 500,000
    cells.

    Args:
        kwargs: Options of torchmetrics.Metric.
    """

    own: Tensor
    other: Tensor
    cells: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("own", "other", "cells"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, distances: Tensor, label: Tensor) -> None:
        """Add B cells.

        Args:
            distances: (B, K) squared distances to the class means, K at least 2.
            label: (B,) true classes, int64 in [0, K).

        Raises:
            Hep2ganError: If shapes are others.
        """
        if distances.ndim != 2 or distances.shape[1] < 2 or label.shape != distances.shape[:1]:
            raise Hep2ganError(
                f"distances are {tuple(distances.shape)}, labels {tuple(label.shape)}",
                "they must be (B, K) and (B,) with K at least 2",
            )
        is_own = F.one_hot(label, distances.shape[1]).bool()
        # Summed over its one entry a row: 0 * inf elsewhere would be NaN.
        self.own += _fixed(distances.masked_fill(~is_own, 0).sum(dim=1)).sum()
        self.other += _fixed(distances.masked_fill(is_own, torch.inf).amin(dim=1)).sum()
        self.cells += len(label)

    def compute(self) -> dict[str, float]:
        """Compute `own_distance` and `other_distance`.

        Raises:
            Hep2ganError: If no cell was added.
        """
        if not int(self.cells):
            raise Hep2ganError("no features were measured", "a mean needs at least one cell")
        cells = int(self.cells) << DISTANCE_UNIT_BITS
        return {
            "own_distance": int(self.own) / cells,
            "other_distance": int(self.other) / cells,
        }


def _fixed(distance: Tensor) -> Tensor:
    bounded = distance.nan_to_num(nan=CAP, posinf=CAP).clamp(max=CAP)
    return torch.round(bounded * 2**DISTANCE_UNIT_BITS).long()


def monitor_name(classifies: bool) -> str:
    """Name the validation metric that chooses the epoch.

    Args:
        classifies: Whether the method has a classifier.

    Returns:
        "val/f1" or "val/dice".
    """
    return "val/f1" if classifies else "val/dice"


class ValidationMetrics(nn.Module):
    """All scores of the validation part, under their logged names.

    Exact over batches and processes, also if a process has no validation cells. The states are not
    saved in a checkpoint.

    Args:
        classes: K names in the order of the labels.
        segments: Whether the method has a generator.
        classifies: Whether the method has a classifier.
        mixture_distances: Function from features (B, D) to squared distances (B, K) to the means of
            the Gaussian mixture (eq. 6); None for a method without one.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        segments: bool,
        classifies: bool,
        mixture_distances: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.segments, self.classifies = segments, classifies
        self.segmentation = SegmentationMetrics(classes)
        self.classification = ClassificationMetrics(classes)
        self.distances = MeanDistances()
        self._mixture_distances = mixture_distances if len(classes) > 1 else None

    def update(
        self,
        mask: Tensor | None,
        probabilities: Tensor | None,
        features: Tensor | None,
        *,
        truth: Tensor | None,
        label: Tensor,
    ) -> None:
        """Add the B cells of one batch.

        Args:
            mask: Generated masks (B, 1, H, W) in [0, 1], or None.
            probabilities: Class probabilities (B, K), or None.
            features: Features of the classifier (B, D), or None.
            truth: True masks (B, 1, H, W) of {0, 1}; None where there are none.
            label: (B,) true classes, int64 in [0, K).
        """
        if mask is not None and truth is not None:
            self.segmentation.update(mask, truth, label)
        if probabilities is not None:
            self.classification.update(probabilities, label)
        if features is not None and self._mixture_distances is not None:
            self.distances.update(self._mixture_distances(features), label)

    def flush(self, *, classified: bool = True) -> dict[str, float]:
        """Compute the values under their logged names, and reset; call it on all processes.

        Args:
            classified: Whether the classifier has trained yet; the scores of one that has not are
                left out, so that they choose no epoch.

        Returns:
            `val/<name>` of `SegmentationMetrics` and `ClassificationMetrics`, scores by class last,
            `gm/val/own_distance` and `gm/val/other_distance`, if the method has them.
        """
        scores: dict[str, float] = {}
        # Depends on the method, not on the cells seen: all processes must synchronise.
        if self.segments:
            scores |= self.segmentation.compute()
        if self.classifies and classified:
            scores |= self.classification.compute()
        by_class_last = sorted(scores, key=lambda name: "/" in name)
        values = {f"val/{name}": scores[name] for name in by_class_last}
        if self._mixture_distances is not None and classified:
            values |= {f"gm/val/{name}": v for name, v in self.distances.compute().items()}
        for metric in self.children():
            cast(Metric, metric).reset()
        return values
