"""How tightly features lie around their class's mean, and how far from the others'."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError

UNIT_BITS = 20
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
        cells = int(self.cells) << UNIT_BITS
        return {
            "own_distance": int(self.own) / cells,
            "other_distance": int(self.other) / cells,
        }


def _fixed(distance: Tensor) -> Tensor:
    bounded = distance.nan_to_num(nan=CAP, posinf=CAP).clamp(max=CAP)
    units: Tensor = (bounded * 2**UNIT_BITS).round().long()
    return units
