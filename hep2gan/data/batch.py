"""Batches of cells: which to gather, as stored, and ready for the networks; how they are gathered.

A whole batch is gathered at once: from the memory map, or on the device.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


class BatchSeed(NamedTuple):
    """Source of the random numbers of a training batch.

    They are sampled for the whole global batch, all ranks together, from (seed, epoch, batch); a
    rank uses rows offset, offset + stride, … of `total`. So they do not depend on the number of
    ranks, and differ between ranks.

    Attributes:
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        batch: Number of the batch in the epoch, from 0.
        offset: First row of this rank in the global batch.
        stride: Distance between two rows of this rank: the number of ranks.
        total: Cells in the global batch.
    """

    seed: int
    epoch: int
    batch: int
    offset: int
    stride: int
    total: int


class Request(NamedTuple):
    """One batch to gather.

    Attributes:
        rows: int64 (B,) rows of the store.
        batch_seed: Source of the random numbers; None in evaluation.
    """

    rows: Tensor
    batch_seed: BatchSeed | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_value(self)


class RawBatch(NamedTuple):
    """Cells as stored; this is what is copied to the device.

    Attributes:
        image: uint8 (B, S, S).
        levels: float32 (B, 2), grey levels of stored 0 and 255.
        mask: uint8 (B, S, S) of {0, 1}; None in a set without masks.
        label: int64 (B,).
        rows: int64 (B,), rows of the store.
        batch_seed: Source of the random numbers; None in evaluation.
    """

    image: Tensor
    levels: Tensor
    mask: Tensor | None
    label: Tensor
    rows: Tensor
    batch_seed: BatchSeed | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_value(self)


def _by_value(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """Pickle tensors with their content, through the pipe between a loader and its workers.

    Torch would send them through shared memory, and wait for ever where /dev/shm is full.
    """
    arrays = tuple(f.cpu().numpy() if isinstance(f, Tensor) else f for f in fields)
    return _from_values, (type(fields), arrays)


def _from_values(kind: type[Any], arrays: tuple[Any, ...]) -> Any:
    return kind(*(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arrays))


class Batch(NamedTuple):
    """Cells as the networks see them.

    Attributes:
        image: float32 (B, 1, H, W), normalised.
        mask: float32 (B, 1, H, W) of {0, 1}; None in a set without masks.
        label: int64 (B,).
        rows: int64 (B,), rows of the store.
    """

    image: Tensor
    mask: Tensor | None
    label: Tensor
    rows: Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without blocking the host, also if the device is a GPU.

    A copy from pageable memory may wait until the GPU has finished its earlier work. One from
    pinned memory does not, and torch keeps that memory until the copy is complete.

    Args:
        values: Any tensor.
        device: The device.

    Returns:
        The tensor on the device.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.contiguous().pin_memory()
    return values.to(device, non_blocking=True)


class CellDataset(Dataset[RawBatch]):
    """Batches gathered from the memory map; pass it to a DataLoader with batch_size=None.

    Args:
        store: The packed cells.
    """

    def __init__(self, store: "Store") -> None:
        self.store = store

    def __getitem__(self, request: Request) -> RawBatch:
        """Gather the cells of one request, in its order, on the CPU.

        Args:
            request: Rows of the store, on the CPU.

        Returns:
            The batch.

        Raises:
            Hep2ganError: A file of the store was truncated since it was opened.
        """
        rows = request.rows.numpy()
        self.store.check_not_truncated()
        store = self.store
        image, levels, label = (
            torch.from_numpy(np.asarray(array[rows]))
            for array in (store.image, store.levels, store.label)
        )
        mask = None if store.mask is None else torch.from_numpy(store.mask[rows])
        return RawBatch(image, levels, mask, label, *request)


class RequestDataset(Dataset[Request]):
    """Passes requests on unchanged, for cells that are already on the device."""

    def __getitem__(self, request: Request) -> Request:
        """Return the request itself.

        Args:
            request: The request.

        Returns:
            The request.
        """
        return request


class DeviceCells:
    """A whole store on one device, as uint8.

    It takes 2·S² bytes a cell, S² without masks: 0.45 GB for the real set at 128.

    Args:
        store: The packed cells.
        device: The device.
        chunk: Cells copied at a time, so that host memory never holds a second copy of the store.

    Raises:
        Hep2ganError: A file of the store was truncated since it was opened.
    """

    def __init__(self, store: "Store", device: torch.device, chunk: int = 1024) -> None:
        self.device = device
        shape = (len(store), store.size, store.size)
        self.image = torch.empty(shape, dtype=torch.uint8, device=device)
        self.mask = torch.empty_like(self.image) if store.has_masks else None
        # In chunks, so that host memory never holds a second copy of the store.
        for start in range(0, len(store), chunk):
            part = slice(start, start + chunk)
            store.check_not_truncated()
            self.image[part] = torch.from_numpy(np.array(store.image[part])).to(device)
            if self.mask is not None and store.mask is not None:
                self.mask[part] = torch.from_numpy(np.array(store.mask[part])).to(device)
        self.levels = torch.from_numpy(np.array(store.levels)).to(device)
        self.label = torch.from_numpy(np.array(store.label)).to(device)

    def gather(self, request: Request) -> RawBatch:
        """Gather the cells of one request.

        Args:
            request: Rows of the store, on the same device.

        Returns:
            The batch, on the same device.
        """
        image, levels, label = (
            array.index_select(0, request.rows) for array in (self.image, self.levels, self.label)
        )
        mask = None if self.mask is None else self.mask.index_select(0, request.rows)
        return RawBatch(image, levels, mask, label, *request)
