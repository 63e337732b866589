"""Numbers that do not depend on how cells were dealt out to batches and processes."""

from collections.abc import Mapping

import torch
from torch import Tensor

UNIT_BITS = 36
"""Ratios are summed as int64 multiples of 2^-36: integer sums have no order, float sums do."""


def to_fixed_point(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole as int64 multiples of 2^-36, rounded; 0 / 0 counts as 1.

    part, whole: int64 of one shape, 0 <= part <= whole < 2^27 (two masks of 67 million pixels).
    Sums of up to 67 million such ratios fit into int64.
    """
    part = torch.where(whole == 0, 1, part)
    whole = whole.clamp(min=1)
    return ((part << UNIT_BITS) + whole // 2) // whole


def ratio(part: Tensor, whole: Tensor) -> float:
    """part / whole of two integer scalars in double precision; 0 / 0 counts as 1."""
    return int(part) / int(whole) if int(whole) else 1.0


def sum_states(values: Mapping[str, float], device: torch.device) -> dict[str, Tensor]:
    """Floats as float64 scalars on `device` (float32 on Apple's, which has no float64)."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return {name: torch.tensor(value, dtype=dtype, device=device) for name, value in values.items()}
