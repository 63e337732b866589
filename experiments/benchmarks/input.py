"""The training input: cells a second of ours, of torchvision's samples and of MONAI's cache.

All give batches of 16 float cells of 128 px with their masks, stretched to [0, 1] and flipped at
even odds each way, from the same drawn cells, which the system has in its memory. Ours: one
process with as many threads as a training has, from the packed store to what a training step gets.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.configured import composed
from experiments.benchmarks.foreign_inputs import CellFiles, monai_loader, torchvision_loader
from experiments.benchmarks.pairs import Ratio, in_pairs
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import STORES
from hep2gan.data.batch import Batch
from hep2gan.data.dataset import CellDataset
from hep2gan.data.prepare import open_store
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.data.splits import Split, make_split
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.random import AugmentationParams
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.setup import build_data

BATCH = 16
CELLS = 2000


def measure(cells: int = CELLS, pairs: int = 7) -> list[Row]:
    """Against torchvision and MONAI, and what the least that there is to do would reach."""
    config = composed([*DRAWN, f"data.count={cells}"])
    store = open_store(config["data"])
    split = make_split(store, **config["split"])
    data = build_data(config, store, split)
    files = files_of(Path(config["data"]["root"]), store)
    loader = torchvision_loader(files, store.size, BATCH, workers=2)
    monai, bare = (
        monai_loader(files, store.size, BATCH, metadata=metadata) for metadata in (True, False)
    )

    def row(ours: Passes, theirs: Passes, what: str, against: str, limit: float) -> Row:
        both = partial(speed, ours, epochs=10), partial(speed, theirs)
        speeds = Ratio.of(*in_pairs(*both, pairs=pairs))
        return Row(what, against, "at least", limit, speeds, "cells/s")

    mine = partial(batches_of, data)
    return [
        row(mine, lambda: loader, OURS, SAMPLES, limit=50),
        row(mine, monai, OURS, CACHE, limit=10),
        row(mine, bare, OURS, f"{CACHE}, without the metadata of its tensors", limit=10),
        # What the operations on pixels would reach with nothing around them, and the first of them.
        row(partial(parts, data), lambda: loader, PARTS, SAMPLES, limit=50),
        row(partial(least, store, split), lambda: loader, LEAST, SAMPLES, limit=50),
    ]


DRAWN = ("data=phantom", "trainer=cpu", f"stores={STORES}")
OURS = "training input, one process"
PARTS = "its copies, flips and stretches alone, without loader and random numbers"
LEAST = "the same cells only copied out and made float"
SAMPLES = "torchvision v2, a sample at a time from PNG files, two workers"
CACHE = "MONAI's CacheDataset and ThreadDataLoader"
Passes = Callable[[], Iterable[Any]]


def speed(batches: Passes, epochs: int = 1) -> float:
    """Cells a second over whole passes; `batches` gives a new pass each time it is called."""
    count, start = 0, time.perf_counter()
    for _ in range(epochs):
        for batch in batches():
            count += len(labels_of(batch))
    return count / (time.perf_counter() - start)


def labels_of(batch: Any) -> torch.Tensor:
    """The labels of a batch of anybody's."""
    if isinstance(batch, dict):
        return batch["label"]  # type: ignore[no-any-return]
    return batch[2]  # type: ignore[no-any-return]


def batches_of(data: CellDataModule) -> Iterator[Batch]:
    """An epoch of training batches, as the trainer gets them."""
    for raw in data.train_dataloader():
        yield data.on_after_batch_transfer(raw, 0)


def parts(data: CellDataModule) -> Iterator[Batch]:
    """Batches of the same cells whose flips are drawn once for all, without a loader."""
    cells, numbers = CellDataset(data.store), None
    for request in EpochBatchSampler(data.split.train, BATCH, training=True):
        raw = cells[request]
        if numbers is None:
            assert raw.draw is not None
            numbers = AugmentationParams.drawn(raw.draw, raw.image.device)
        image, mask = data.augmentation.flipped(raw.image, raw.mask, numbers)
        normalised = data.normalisation(image, raw.levels)
        yield Batch(normalised, mask.unsqueeze(1).float(), raw.label, raw.rows)


def least(store: Store, split: Split) -> Iterator[Batch]:
    """Batches of the same cells that are neither normalised nor flipped, without a loader."""
    cells = CellDataset(store)
    for request in EpochBatchSampler(split.train, BATCH, training=True):
        raw = cells[request]
        image, mask = raw.image.unsqueeze(1).float(), raw.mask.unsqueeze(1).float()
        yield Batch(image, mask, raw.label, raw.rows)


def files_of(root: Path, store: Store) -> Sequence[CellFiles]:
    """The PNG files that the store was packed from, in its order."""
    return [
        CellFiles(root / f"{name}.png", root / f"{name}_Mask.png", label)
        for name, label in zip(store.id.tolist(), store.label.tolist(), strict=True)
    ]
