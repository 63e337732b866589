"""Computation of losses in float32 or better, also if the networks run under autocast."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def to_float32(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; float32 and float64 stay.

    Args:
        values: Tensor of any shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def without_autocast(values: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which autocast is off.

    Args:
        values: A tensor on the device for which autocast is switched off.
    """
    # Checked first: a step enters six of these contexts, and switching costs more than checking.
    if not torch.is_autocast_enabled(values.device.type):
        return nullcontext()
    return torch.autocast(values.device.type, enabled=False)
