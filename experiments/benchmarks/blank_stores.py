"""Stores of any number of cells that take no time to make, and what opening one takes.

`python -m experiments.benchmarks.blank_stores STORE` prints the memory of a process that opened it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.data.batch import Batch, Request
from hep2gan.data.dataset import CellDataset
from hep2gan.data.patterns import CLASSES
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.data.splits import Split
from hep2gan.data.store.integrity import (
    COLUMNS,
    FORMAT,
    MANIFEST,
    SPECIMENS,
    VERSION,
    record_verified,
    verify_once,
)
from hep2gan.data.store.store import Store
from hep2gan.training.datamodule import CellDataModule

SIZE = 128
PER_SPECIMEN = 50
"""Cells; a store of a thousand must have several specimens of each class."""


def blank_store(folder: Path, cells: int, size: int = SIZE) -> Path:
    """Write a store whose pixels are holes in sparse files; all other arrays are there in full.

    It is noted as whole, as a packed one is. Labels and specimens run on as in the real set.
    """
    folder.mkdir(parents=True)
    rows = np.arange(cells)
    specimen = rows // PER_SPECIMEN
    arrays: dict[str, npt.NDArray[Any]] = {
        "label": specimen % len(CLASSES),
        "specimen": specimen,
        "levels": np.tile(np.array([0, 255], np.float32), (cells, 1)),
        "crop_size": np.full((cells, 2), 70),
        "intensity": np.zeros(cells, np.int8),
        "part": np.full(cells, -1, np.int8),
        "digest": rows.astype("<u8").repeat(2).view(np.uint8).reshape(cells, 16),
        "id": np.char.zfill(rows.astype(np.str_), 7),
        SPECIMENS: np.unique(specimen).astype(np.str_),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for name in COLUMNS.keys() - arrays.keys():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (cells, size, size))
    manifest = {
        "format": FORMAT, "version": VERSION, "cells": cells, "size": size,
        "classes": list(CLASSES), "fingerprint": "0" * 64,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    record_verified(folder)
    return folder


def opened(folder: Path) -> Store:
    """Open a store as a run does that found it whole before."""
    store = Store.open(folder)
    verify_once(store)
    return store


def whole(store: Store) -> Split:
    """A split in which all cells are trained on."""
    nothing = np.empty(0, np.int64)
    return Split(np.arange(len(store)), nothing, nothing, {})


def given_batch(store: Store, split: Split) -> Batch:
    """A batch from all over the store, of cells that need not be drawn."""
    rows = torch.linspace(0, len(store) - 1, 16).long()
    data = CellDataModule(store, split)
    return data.on_after_batch_transfer(CellDataset(store)[Request(rows, None)], 0)


def first_batch(store: Store, split: Split) -> Batch:
    """The first batch of an epoch of training: its order is drawn."""
    return next(training_batches(store, split))


def training_batches(store: Store, split: Split) -> Iterator[Batch]:
    """The batches of an epoch of training."""
    data = CellDataModule(store, split)
    for raw in data.train_dataloader():
        yield data.on_after_batch_transfer(raw, 0)


def order(split: Split) -> None:
    """Draw the order of an epoch, and nothing else."""
    next(iter(EpochBatchSampler(split.train, 16, training=True)))


def memory(folder: Path) -> float:
    """MiB of a new process's own that opened a store and took a first batch (see `own_memory`)."""
    command = [sys.executable, "-m", __name__, str(folder)]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(shown.splitlines()[-1])


def own_memory() -> float:
    """MiB that this process holds beside files: mapped pages belong to the system's cache."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/smaps_rollup names no anonymous memory")


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = opened(Path(sys.argv[1]))
    taken = given_batch(found, whole(found))
    print(own_memory())
