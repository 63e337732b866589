"""Means class by class, the same to the last bit over any batches and processes."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.fixed_point import UNIT_BITS, fixed


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

        value: (B,) int64 multiples of 2^-36 (`fixed`). label: (B,) int64 in [0, K). Raises
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


def hits(probabilities: Tensor, label: Tensor) -> Tensor:
    """1 for each of B cells whose most probable class is its own, else 0, as `fixed` gives it.

    probabilities: (B, K). label: (B,) int64. Returns (B,) int64 multiples of 2^-36.
    """
    right = (probabilities.argmax(dim=1) == label).long()
    return fixed(right, torch.ones_like(right))
