"""Losses are computed in float32 or better, whatever autocast does to the networks."""

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """Raise float16 and bfloat16 to float32; float32 and float64 stay."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def without_autocast(values: Tensor) -> torch.autocast:
    """Switch autocast off on the device of `values`: a context manager."""
    return torch.autocast(values.device.type, enabled=False)
