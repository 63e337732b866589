"""Input of cells: training batches, packing image files, opening stores.

`python -m experiments.benchmarks.input STORE` opens a store, takes a batch and prints the memory of
the process in MiB.
"""

import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from experiments.benchmarks.compare import (
    CPU,
    STORES,
    SYNTHETIC,
    Ratio,
    Row,
    compare,
    compose_config,
    measure_in_turns,
    rate,
    run_python,
    seconds,
)
from experiments.benchmarks.trainings import load_batches
from hep2gan.data.batch import Batch, CellDataset, Request
from hep2gan.data.patterns import CLASSES
from hep2gan.data.prepare import open_store
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.source import RawCell, RawCells
from hep2gan.data.splits import Split, make_split
from hep2gan.data.store.integrity import (
    COLUMNS,
    FORMAT,
    MANIFEST,
    SPECIMENS,
    VERSION,
    record_verified,
    verify,
)
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.setup import build_data

BATCH = 16
ON_CPU = torch.device("cpu")

# ------------------------------------------------------------------ training batches


def compare_loaders(quick: bool = False) -> list[Row]:
    """Compare the training input to torchvision's samples and to MONAI's cache.

    All give batches of 16 float cells of 128 px with their masks, stretched to [0, 1] and flipped
    with probability 1/2 each way, from the same synthetic cells in the system's memory. Ours is one
    process with the threads of a training, from the packed store to what a training step gets.

    Args:
        quick: one pass over few cells.

    Returns:
        The rows of the table, in cells per second.
    """
    cells, passes, pairs = (64, 1, 1) if quick else (2000, 10, 7)
    config = compose_config(*SYNTHETIC, *CPU, f"data.count={cells}")
    store = open_store(config.source)
    split = make_split(store, config.split)
    data = build_data(config, store, split)
    raw = read_icpr2016(config.source.folder).cells
    monai = "MONAI's CacheDataset and ThreadDataLoader"
    loaders = {
        "torchvision v2, a sample at a time from PNG files, two workers": (
            make_torchvision_loader(raw, store), 50,
        ),
        monai: (make_monai_loader(raw, store, metadata=True), 10),
        f"{monai}, without the metadata of its tensors": (
            make_monai_loader(raw, store, metadata=False), 10,
        ),
    }  # fmt: skip
    ours = rate(
        partial(load_passes, lambda: load_batches(data, ON_CPU), passes),
        passes * (len(split.train) // BATCH * BATCH),
    )
    rows = []
    for against, (loader, target) in loaders.items():
        theirs = rate(partial(load_passes, loader, 1), cells // BATCH * BATCH)
        ratio = compare(ours, theirs, pairs=pairs)
        rows.append(Row("training input, one process", against, ratio, "cells/s", at_least=target))
    return rows


def load_passes(make_pass: Callable[[], Iterable[Any]], passes: int) -> None:
    """Load whole passes over the cells and keep nothing.

    Args:
        make_pass: gives the batches of a new pass.
        passes: their number.
    """
    deque((batch for _ in range(passes) for batch in make_pass()), maxlen=0)


def stretch(image: Tensor) -> Tensor:
    """Let an image's darkest to brightest pixel become 0 to 1.

    Args:
        image: of any shape.

    Returns:
        The image in [0, 1].
    """
    low, high = image.aminmax()
    return (image - low) / (high - low).clamp(min=1e-6)


class ImageFiles(Dataset[tuple[Tensor, Tensor, int]]):
    """Reads, changes and normalises one cell at a time, as torchvision's documentation has it."""

    def __init__(self, cells: Sequence[RawCell], labels: Sequence[int], size: int) -> None:
        self.cells, self.labels = cells, labels
        floats = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.float32}
        # What is cheaper on the smaller crop comes before resizing.
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ToDtype(floats),
                v2.Resize([size, size]), v2.Lambda(stretch, tv_tensors.Image),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        # With Pillow: torchvision's own decoders are deprecated.
        cell = self.cells[place]
        assert cell.mask is not None
        with Image.open(cell.image) as image, Image.open(cell.mask) as m:
            pixels = tv_tensors.Image(v2.functional.pil_to_tensor(image))
            mask = tv_tensors.Mask(v2.functional.pil_to_tensor(m) // 255)
        return (*self.transform(pixels, mask), self.labels[place])


def make_torchvision_loader(cells: Sequence[RawCell], store: Store) -> Callable[[], Iterable[Any]]:
    """Make a loader of samples that two workers read and change one by one.

    Args:
        cells: their files.
        store: packed from them; names their classes and size.

    Returns:
        A function that gives the batches (image, mask, label) of a new pass; the workers stay.
    """
    loader = DataLoader(
        ImageFiles(cells, store.label.tolist(), store.size),
        batch_size=BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True,
    )  # fmt: skip
    return lambda: loader


def make_monai_loader(
    cells: Sequence[RawCell], store: Store, *, metadata: bool
) -> Callable[[], Iterator[Any]]:
    """Make a loader from memory, as MONAI's guide to fast training has it.

    All that is not random is cached, and a thread makes the batches.

    Args:
        cells: their files.
        store: packed from them; names their classes and size.
        metadata: whether tensors carry what was done to them, which is MONAI's default; its guide
            leaves that out for speed.

    Returns:
        A function that gives the batches {image, mask, label} of a new pass.

    Raises:
        Hep2ganError: MONAI is not installed.
    """
    try:
        from monai import transforms
        from monai.data.dataset import CacheDataset
        from monai.data.meta_obj import set_track_meta
        from monai.data.thread_buffer import ThreadDataLoader
    except ImportError as error:
        raise Hep2ganError(
            "MONAI is not installed",
            "the training input is measured against it",
            'pip install "hep2gan[benchmarks]"',
        ) from error
    both = ["image", "mask"]
    steps = [
        transforms.LoadImaged(both, reader="PILReader", ensure_channel_first=True),
        # MONAI's first axis is x.
        transforms.Transposed(both, (0, 2, 1)),
        transforms.Resized(both, (store.size,) * 2, mode=("bilinear", "nearest-exact")),
        transforms.ScaleIntensityd(both),
        transforms.EnsureTyped(both, dtype=torch.float32),
        transforms.RandFlipd(both, prob=0.5, spatial_axis=1),
        transforms.RandFlipd(both, prob=0.5, spatial_axis=0),
    ]
    set_track_meta(metadata)
    items = [
        {"image": str(cell.image), "mask": str(cell.mask), "label": label}
        for cell, label in zip(cells, store.label.tolist(), strict=True)
    ]
    cached = CacheDataset(items, transforms.Compose(steps), num_workers=2, progress=False)
    loader = ThreadDataLoader(cached, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=0)

    def load_pass() -> Iterator[Any]:
        # A setting of the whole process, read whenever a cell is changed.
        set_track_meta(metadata)
        yield from loader

    return load_pass


# ------------------------------------------------------------------ packing


def compare_packing(quick: bool = False) -> list[Row]:
    """Compare packing PNG files to decoding the same files with Pillow.

    Ours is what hep2gan-pack calls once it has read its tables: two worker processes check, decode,
    resize, stretch and hash every cell; the store is written, hashed and synced to disk.

    Args:
        quick: few cells, one pair.

    Returns:
        The row of the table, in cells per second.
    """
    # As many as the ICPR 2016 set has.
    count, pairs = (64, 1) if quick else (13_596, 3)
    data = compose_config(*SYNTHETIC, f"data.count={count}").source
    open_store(data)
    raw = read_icpr2016(data.folder)
    ours = rate(partial(pack_and_remove, raw, data.size), count)
    ratio = compare(ours, rate(partial(decode, raw.cells), count), pairs=pairs)
    against = "decoding the same PNG files with Pillow, one process"
    return [Row("hep2gan-pack, two processes", against, ratio, "cells/s", at_least=1.8)]


def pack_and_remove(raw: RawCells, size: int) -> None:
    """Pack cells into a store as hep2gan-pack does, with two worker processes, and remove it.

    Args:
        raw: the cells' files.
        size: side of stored cells in pixels.
    """
    with tempfile.TemporaryDirectory(dir=STORES) as folder:
        pack_cells(raw, Path(folder) / "store", size=size, workers=2)


def decode(cells: Sequence[RawCell]) -> None:
    """Decode images and masks one by one with Pillow and keep nothing.

    Args:
        cells: their files.
    """
    for path in (path for cell in cells for path in (cell.image, cell.mask) if path):
        with Image.open(path) as image:
            np.asarray(image)


# ------------------------------------------------------------------ opening


def compare_opening(quick: bool = False) -> list[Row]:
    """Compare opening a store of a million cells to opening one of a thousand.

    Both are blank stores that were verified before, as every store is after its first start.

    Args:
        quick: two thousand cells instead of a million, one pair.

    Returns:
        The rows of the table, in seconds, and of memory in MiB.
    """
    torch.set_num_threads(1)
    counts, pairs, processes = ((2000, 1000), 1, 1) if quick else ((1_000_000, 1000), 15, 3)
    large, small = (f"{count:,} cells" for count in counts)
    STORES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STORES) as folder:
        stores = [write_blank_store(Path(folder) / str(count), count) for count in counts]
        splits = [take_all(open_verified(path)) for path in stores]

        def row(what: str, then: Callable[[Store, Split], object]) -> Row:
            # Once is too short for the clock.
            both = (
                seconds(partial(open_and_load, path, split, then), repeats=10)
                for path, split in zip(stores, splits, strict=True)
            )
            return Row(f"{what}, {large}", small, compare(*both, pairs=pairs), at_most=1.5)

        rows = [
            row("opening a store", lambda store, split: None),
            row("opening, and a batch of given cells", load_given_batch),
            row("opening, and the first batch of training", load_first_batch),
        ]
        measures = (partial(measure_memory, path) for path in stores)
        memory = Ratio.of(*measure_in_turns(*measures, pairs=processes, warm_up=0))
        rows.append(
            Row(f"memory of a process with a batch, {large}", small, memory, "MiB", at_most=1.02)
        )
    return rows


def write_blank_store(folder: Path, cells: int, size: int = 128) -> Path:
    """Write a store of black cells, noted as verified, in the time that its tables take.

    Args:
        folder: is made. Pixels are holes in sparse files; all other arrays are there in full.
        cells: their number; 50 make a specimen, and classes follow each other.
        size: side of a cell in pixels.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    rows = np.arange(cells)
    specimen = rows // 50
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
        "classes": list(CLASSES), "masks": True, "fingerprint": "0" * 64,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    record_verified(folder)
    return folder


def open_verified(folder: Path) -> Store:
    """Open a store as a run does that verified it before.

    Args:
        folder: of the store.

    Returns:
        The store.
    """
    store = Store.open(folder)
    verify(store)
    return store


def open_and_load(folder: Path, split: Split, load: Callable[[Store, Split], object]) -> None:
    """Open a store that was verified before, and load something of it.

    Args:
        folder: of the store.
        split: of the store.
        load: what is loaded.
    """
    load(open_verified(folder), split)


def take_all(store: Store) -> Split:
    """Make a split in which all cells are for training.

    Args:
        store: the cells.

    Returns:
        The split.
    """
    nothing = np.empty(0, np.int64)
    return Split(np.arange(len(store)), nothing, nothing, {})


def load_given_batch(store: Store, split: Split) -> Batch:
    """Load a batch of cells from all over the store.

    Args:
        store: the cells.
        split: of the store.

    Returns:
        The batch.
    """
    rows = torch.linspace(0, len(store) - 1, BATCH).long()
    data = CellDataModule(store, split)
    return data.on_after_batch_transfer(CellDataset(store)[Request(rows, None)], 0)


def load_first_batch(store: Store, split: Split) -> Batch:
    """Load the first batch of training, for which the cells of the epoch are shuffled.

    Args:
        store: the cells.
        split: of the store.

    Returns:
        The batch.
    """
    return next(load_batches(CellDataModule(store, split), ON_CPU))


def measure_memory(store: Path) -> float:
    """Measure the memory of a new process that opened a store and took a batch.

    Args:
        store: its folder.

    Returns:
        MiB of its own, without mapped files, whose pages belong to the system's cache.
    """
    return float(run_python("-m", "experiments.benchmarks.input", str(store)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = open_verified(Path(sys.argv[1]))
    taken = load_given_batch(found, take_all(found))
    held = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").partition("Anonymous:")[2]
    print(int(held.split()[0]) / 1024)
