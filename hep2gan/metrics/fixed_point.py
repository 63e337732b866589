"""Sums that do not depend on how cells were spread over batches and processes."""

import torch
from torch import Tensor

UNIT_BITS = 36
"""Ratios are summed as int64 multiples of 2^-36: integer sums have no order, float sums do."""


def to_fixed_point(part: Tensor, whole: Tensor) -> Tensor:
    """Divide two int64 tensors, rounded to int64 multiples of 2^-36; 0 / 0 counts as 1.

    Sums of up to 67 million such ratios fit into int64.

    Args:
        part: of any shape, 0 <= part <= whole.
        whole: of the same shape, below 2^27 (two masks of 67 million pixels).
    """
    part = torch.where(whole == 0, 1, part)
    whole = whole.clamp(min=1)
    return ((part << UNIT_BITS) + whole // 2) // whole


def ratio(part: Tensor, whole: Tensor) -> float:
    """Divide two integer scalars in double precision; 0 / 0 counts as 1."""
    return int(part) / int(whole) if int(whole) else 1.0
