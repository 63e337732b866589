"""Means class by class, the same to the last bit over any batches and processes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from hep2gan.data.batch import Batch
from hep2gan.errors import Hep2ganError
from hep2gan.losses.gaussian_mixture import GaussianMixtureLoss
from hep2gan.metrics.fixed_point import UNIT_BITS, to_fixed_point
from hep2gan.metrics.segmentation import image_dice
from hep2gan.models.output import ModelOutput


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
    """Dice and accuracy by class, and distances to the mixture's means, of the validation part.

    classes: K names in the order of the labels. segments, classifies: which networks the method
    has. mixture: the loss whose means are asked; None where the method has none. Exact over batches
    and processes, also where a process has no validation cells of its own.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        segments: bool,
        classifies: bool,
        mixture: GaussianMixtureLoss | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.segments, self.classifies = segments, classifies
        self.dice, self.accuracy = MeanByClass(len(classes)), MeanByClass(len(classes))
        self.distances = MeanDistances()
        # In a list: its parameters belong to the classification loss and not to this module.
        self._mixture = [mixture] if mixture is not None and len(classes) > 1 else []

    def update(self, outputs: ModelOutput, batch: Batch) -> None:
        """Add the cells of one batch."""
        if outputs.mask is not None:
            self.dice.update(image_dice(outputs.mask, batch.mask), batch.label)
        if outputs.probabilities is not None:
            self.accuracy.update(correct(outputs.probabilities, batch.label), batch.label)
        if outputs.features is not None:
            for mixture in self._mixture:
                self.distances.update(mixture.distances(outputs.features), batch.label)

    def flush(self) -> dict[str, float]:
        """The values under their logged names, and start anew; to be called on all processes.

        Names are val/dice/<class>, val/accuracy/<class>, gm/val/own_distance and
        gm/val/other_distance. Classes without cells are left out.
        """
        values: dict[str, float] = {}
        # By what the method has, not by what was seen: all processes must wait for each other.
        if self.segments:
            values |= self._by_class("dice", self.dice.compute())
        if self.classifies:
            values |= self._by_class("accuracy", self.accuracy.compute())
        if self._mixture:
            measured = self.distances.compute()
            values |= {f"gm/val/{name}": value for name, value in measured.items()}
        for metric in (self.dice, self.accuracy, self.distances):
            metric.reset()
        return values

    def _by_class(self, name: str, values: Sequence[float]) -> dict[str, float]:
        named = zip(self.classes, values, strict=True)
        return {f"val/{name}/{label}": value for label, value in named if not math.isnan(value)}
