"""Scores of the validation part, the same to the last bit over any batches and processes."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.classification import ClassificationMetrics
from hep2gan.metrics.fixed_point import UNIT_BITS, to_fixed_point
from hep2gan.metrics.segmentation import SegmentationMetrics, image_dice


class MeanByClass(Metric):
    """Mean over the cells of each of K classes of a number in [0, 1] that every cell has.

    Of Dice: Dice by class. Of 1 where the class is named right and 0 elsewhere: accuracy by class,
    which is recall. States are integers.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    cells: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        for name in ("total", "cells"):
            zeros = torch.zeros(num_classes, dtype=torch.int64)
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(self, value: Tensor, label: Tensor) -> None:
        """Add B cells.

        value: (B,) int64 multiples of 2^-36 (`to_fixed_point`). label: (B,) int64 in [0, K). Raises
        Hep2ganError for other shapes and types.
        """
        if value.dtype != torch.int64 or value.shape != label.shape or value.ndim != 1:
            raise Hep2ganError(
                f"values are {value.dtype} {tuple(value.shape)} for labels {tuple(label.shape)}",
                "both must be (B,), values as int64 multiples of 2^-36",
            )
        own = F.one_hot(label, self.num_classes)
        self.total += (own * value[:, None]).sum(dim=0)
        self.cells += own.sum(dim=0)

    def compute(self) -> list[float]:
        """K means in [0, 1], NaN for a class without cells."""
        pairs = zip(self.total.tolist(), self.cells.tolist(), strict=True)
        return [total / (cells << UNIT_BITS) if cells else math.nan for total, cells in pairs]


def correct(probabilities: Tensor, label: Tensor) -> Tensor:
    """1 for each of B cells whose most probable class is its own, else 0, in fixed point.

    probabilities: (B, K). label: (B,) int64. Returns (B,) int64 multiples of 2^-36.
    """
    right = (probabilities.argmax(dim=1) == label).long()
    return to_fixed_point(right, torch.ones_like(right))


DISTANCE_UNIT_BITS = 20
"""Squared distances are summed as int64 multiples of 2^-20, so that sums have no order."""

CAP = 2.0**24
"""A larger squared distance, or one that is not finite, counts as this: sums stay in int64."""


class MeanDistances(Metric):
    """Mean squared distances of features to the own class's mean and to the nearest other mean.

    Given are the distances of a Gaussian mixture (eq. 6), in its own covariance. The mixture does
    its work while `own_distance` falls and `other_distance` stays above it. Up to 500,000 cells.
    """

    is_differentiable = False
    full_state_update = False

    own: Tensor
    other: Tensor
    cells: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("own", "other", "cells"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, distances: Tensor, label: Tensor) -> None:
        """Add B cells. distances: (B, K) squared, K at least 2. label: (B,) int64 in [0, K).

        Raises Hep2ganError for other shapes.
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
        """`own_distance` and `other_distance`; Hep2ganError before the first cell."""
        if not int(self.cells):
            raise Hep2ganError("no features were measured", "a mean needs at least one cell")
        cells = int(self.cells) << DISTANCE_UNIT_BITS
        return {
            "own_distance": int(self.own) / cells,
            "other_distance": int(self.other) / cells,
        }


def _fixed(distance: Tensor) -> Tensor:
    bounded = distance.nan_to_num(nan=CAP, posinf=CAP).clamp(max=CAP)
    units: Tensor = (bounded * 2**DISTANCE_UNIT_BITS).round().long()
    return units


class ValidationMetrics(nn.Module):
    """All scores of the validation part, under their logged names.

    Exact over batches and processes, also where a process has no validation cells of its own. The
    states are no part of a checkpoint.

    Args:
        classes: K names in the order of the labels.
        segments: whether the method has a generator.
        classifies: whether the method has a classifier.
        mixture_distances: from features (B, D) to squared distances (B, K) to the means of the
            Gaussian mixture (eq. 6); None for a method without one.
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
        size = len(classes)
        self.classes, self.segments, self.classifies = tuple(classes), segments, classifies
        self.segmentation, self.classification = SegmentationMetrics(), ClassificationMetrics(size)
        self.dice_by_class, self.accuracy_by_class = MeanByClass(size), MeanByClass(size)
        self.distances = MeanDistances()
        self._mixture_distances = mixture_distances if size > 1 else None

    def update(
        self,
        mask: Tensor | None,
        probabilities: Tensor | None,
        features: Tensor | None,
        *,
        truth: Tensor,
        label: Tensor,
    ) -> None:
        """Add the B cells of one batch.

        Args:
            mask: generated masks (B, 1, H, W) in [0, 1], or None.
            probabilities: of the classes, (B, K), or None.
            features: of the classifier, (B, D), or None.
            truth: true masks (B, 1, H, W) of {0, 1}.
            label: (B,) int64 in [0, K).
        """
        if mask is not None:
            self.segmentation.update(mask, truth)
            self.dice_by_class.update(image_dice(mask, truth), label)
        if probabilities is not None:
            self.classification.update(probabilities, label)
            self.accuracy_by_class.update(correct(probabilities, label), label)
        if features is not None and self._mixture_distances is not None:
            self.distances.update(self._mixture_distances(features), label)

    def flush(self) -> dict[str, float]:
        """Give the values under their logged names, and start anew; call it on all processes.

        Returns:
            `val/<score>` of `SegmentationMetrics` and `ClassificationMetrics`, `val/dice/<class>`,
            `val/accuracy/<class>`, `gm/val/own_distance` and `gm/val/other_distance`, as far as the
            method has them. Classes without cells are left out.
        """
        values: dict[str, float] = {}
        # By what the method has, not by what was seen: all processes must wait for each other.
        if self.segments:
            values |= self.segmentation.compute()
        if self.classifies:
            values |= self.classification.compute()
        if self.segments:
            values |= self._by_class("dice", self.dice_by_class.compute())
        if self.classifies:
            values |= self._by_class("accuracy", self.accuracy_by_class.compute())
        values = {f"val/{name}": value for name, value in values.items()}
        if self._mixture_distances is not None:
            values |= {f"gm/val/{name}": v for name, v in self.distances.compute().items()}
        for metric in self.children():
            cast(Metric, metric).reset()
        return values

    def _by_class(self, name: str, values: Sequence[float]) -> dict[str, float]:
        named = zip(self.classes, values, strict=True)
        return {f"{name}/{label}": value for label, value in named if not math.isnan(value)}
