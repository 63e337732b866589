"""The words of the field: staining patterns of the ICPR 2016 set, and a batch of cells."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Cells on their way through the networks.

    image: float32 (B, 1, H, W), normalised. mask: float32 (B, 1, H, W) of {0, 1}.
    label: int64 (B,). rows: int64 (B,), their places in the store.
    """

    image: Tensor
    mask: Tensor
    label: Tensor
    rows: Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; the host goes on at once, also where the device is a GPU.

    A copy from ordinary memory may wait until the GPU has done what it was given before. One from
    pinned memory does not, and torch keeps that memory until the copy is over.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.contiguous().pin_memory()
    return values.to(device, non_blocking=True)


class BatchSeed(NamedTuple):
    """Where the random numbers of a training batch come from.

    They are drawn for the whole global batch, all ranks together, from (seed, epoch, batch); a
    rank uses rows offset, offset + stride, … of `total`. So they do not depend on the number of
    ranks, and differ between ranks.
    """

    seed: int
    epoch: int
    batch: int
    offset: int
    stride: int
    total: int


class Request(NamedTuple):
    """One batch to gather: int64 (B,) rows of the store; draw is None in evaluation."""

    rows: Tensor
    draw: BatchSeed | None


class RawBatch(NamedTuple):
    """Cells as stored; this is what travels to the device.

    image: uint8 (B, S, S). levels: float32 (B, 2), grey levels of stored 0 and 255. mask: uint8
    (B, S, S) of {0, 1}. label: int64 (B,). rows: int64 (B,). draw: see `BatchSeed`.
    """

    image: Tensor
    levels: Tensor
    mask: Tensor
    label: Tensor
    rows: Tensor
    draw: BatchSeed | None
