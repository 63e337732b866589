"""From the host to the device without waiting for it."""

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; the host goes on at once, also where the device is a GPU.

    A copy from ordinary memory may wait until the GPU has done what it was given before. One from
    pinned memory does not, and torch keeps that memory until the copy is over.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.contiguous().pin_memory()
    return values.to(device, non_blocking=True)
