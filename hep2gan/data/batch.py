"""Batches of cells: which to gather, as stored, and ready for the networks."""

from typing import NamedTuple

import torch
from torch import Tensor


class BatchSeed(NamedTuple):
    """Where the random numbers of a training batch come from.

    They are sampled for the whole global batch, all ranks together, from (seed, epoch, batch); a
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
    """One batch to gather: int64 (B,) rows of the store; batch_seed is None in evaluation."""

    rows: Tensor
    batch_seed: BatchSeed | None


class RawBatch(NamedTuple):
    """Cells as stored; this is what travels to the device.

    image: uint8 (B, S, S). levels: float32 (B, 2), grey levels of stored 0 and 255. mask: uint8
    (B, S, S) of {0, 1}. label: int64 (B,). rows: int64 (B,). batch_seed: see `BatchSeed`.
    """

    image: Tensor
    levels: Tensor
    mask: Tensor
    label: Tensor
    rows: Tensor
    batch_seed: BatchSeed | None


class Batch(NamedTuple):
    """Cells as the networks see them.

    image: float32 (B, 1, H, W), normalised. mask: float32 (B, 1, H, W) of {0, 1}.
    label: int64 (B,). rows: int64 (B,), their rows in the store.
    """

    image: Tensor
    mask: Tensor
    label: Tensor
    rows: Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without blocking the host, also where the device is a GPU.

    A copy from pageable memory may wait until the GPU has finished its earlier work. One from
    pinned memory does not, and torch keeps that memory until the copy is over.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.contiguous().pin_memory()
    return values.to(device, non_blocking=True)
