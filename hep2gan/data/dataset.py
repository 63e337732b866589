"""Datasets that gather a whole batch at once: from the memory map, or on the device."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from hep2gan.data.batch import RawBatch, Request

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store

_STORED = ("image", "levels", "mask", "label")


class CellDataset(Dataset[RawBatch]):
    """Batches from the memory map; give it to a loader with batch_size=None.

    Raises Hep2ganError where a file of the store was truncated since it was opened.
    """

    def __init__(self, store: "Store") -> None:
        self.store = store

    def __getitem__(self, request: Request) -> RawBatch:
        """Gather the cells of one request, in its order, on the CPU."""
        rows = request.rows.numpy()
        self.store.check_not_truncated()
        image, levels, mask, label = (
            torch.from_numpy(np.asarray(getattr(self.store, name)[rows])) for name in _STORED
        )
        return RawBatch(image, levels, mask, label, request.rows, request.batch_seed)


class RequestDataset(Dataset[Request]):
    """Passes requests on as they are, for cells that are on the device already."""

    def __getitem__(self, request: Request) -> Request:
        """Return the request itself."""
        return request


class DeviceCells:
    """A whole store on one device, as uint8: S²·2 bytes a cell, 0.45 GB for the real set at 128.

    Raises Hep2ganError where a file of the store was truncated since it was opened.
    """

    def __init__(self, store: "Store", device: torch.device, chunk: int = 1024) -> None:
        self.device = device
        shape = (len(store), store.size, store.size)
        self.image = torch.empty(shape, dtype=torch.uint8, device=device)
        self.mask = torch.empty(shape, dtype=torch.uint8, device=device)
        # In chunks, so that host memory never holds a second copy of the store.
        for start in range(0, len(store), chunk):
            part = slice(start, start + chunk)
            store.check_not_truncated()
            self.image[part] = torch.from_numpy(np.array(store.image[part])).to(device)
            self.mask[part] = torch.from_numpy(np.array(store.mask[part])).to(device)
        self.levels = torch.from_numpy(np.array(store.levels)).to(device)
        self.label = torch.from_numpy(np.array(store.label)).to(device)

    def gather(self, request: Request) -> RawBatch:
        """Gather the cells of one request, whose rows are on the same device."""
        rows, batch_seed = request
        image, levels, mask, label = (
            array.index_select(0, rows)
            for array in (self.image, self.levels, self.mask, self.label)
        )
        return RawBatch(image, levels, mask, label, rows, batch_seed)
