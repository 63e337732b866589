"""A run as hep2gan-train makes it, up to its training."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.benchmarks.configured import composed, repeated
from hep2gan.io import silence_libraries
from hep2gan.runs.folder import RunFolder
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.setup import build_data, open_run_setup
from hep2gan.training.signals import SignalHandler
from hep2gan.training.trainer import fit

STORES = Path("runs/benchmarks/stores")

COMPACT = ("scale=laptop",)
"""Compact networks, 64 px."""
FULL_SIZE = ("scale=paper", "pretrained=false")
"""The paper's networks, 128 px."""


class SmallRun(NamedTuple):
    """A run that is ready to train: config, folder, networks, batches."""

    config: dict[str, Any]
    run: RunFolder
    task: SegmentationGuidedClassification
    data: CellDataModule

    def train(self) -> None:
        """The training of hep2gan-train: its trainer, callbacks, checkpoints and metrics.csv."""
        fit(self.config, self.run, self.task, self.data, None, None, SignalHandler())


def small_run(folder: Path, *overrides: str, batches: int | None = None) -> SmallRun:
    """Draw the cells (once), split them, build the networks; the run goes to `folder`.

    batches: of an epoch, its cells coming again and again; None for each cell once.
    """
    silence_libraries()
    given = ("data=phantom", "trainer=cpu", f"stores={STORES}", f"run_dir={folder}")
    config = composed([*given, *overrides])
    run = RunFolder(folder)
    torch.manual_seed(0)
    preparation = open_run_setup(config, run, None)
    store, split, task = preparation.store, preparation.split, preparation.task
    assert store is not None
    assert split is not None
    assert task is not None
    if batches is not None:
        split = repeated(split, batches * config["trainer"]["batch_size"])
    return SmallRun(config, run, task, build_data(config, store, split))
