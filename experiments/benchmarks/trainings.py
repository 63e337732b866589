"""Real trainings in processes of their own, which go on by blocks of steps."""

import io
import multiprocessing
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from hydra import compose, initialize_config_dir

from experiments.benchmarks.blocks import Block, Blocks, Finished, Length
from hep2gan.alarms import Alarms
from hep2gan.assembly import build_task
from hep2gan.callbacks import EpochCheckpoint, SeedEachBatch
from hep2gan.command import config_folder, resolved
from hep2gan.compiling import Compiled
from hep2gan.data.split_files import Split
from hep2gan.data.splits import make_split
from hep2gan.gauges import Gauges
from hep2gan.nonfinite import StopAtNonfinite
from hep2gan.quiet import quiet_libraries
from hep2gan.stocking import open_store
from hep2gan.strategy import leave_signals_alone
from hep2gan.training import build_data, build_trainer, prepare_networks


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that `hep2gan-train` has of these overrides."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolved(compose("train", list(overrides)))


def train(overrides: Sequence[str], pipe: Connection, length: Length, blocks: int) -> None:
    """Train on drawn cells, which come again and again, with the callbacks of hep2gan-train."""
    quiet_libraries()
    config = composed(overrides)
    settings = config["trainer"] | {"max_epochs": 1}
    L.seed_everything(config["seed"], verbose=False)
    store = open_store(config["data"])
    split = make_split(store, **config["split"])
    # One block more, so that the end of the epoch is never reached.
    rows = np.resize(split.train, (blocks + 1) * sum(length) * settings["batch_size"])
    nothing = np.empty(0, np.int64)
    task = build_task(
        config, classes=store.classes, size=store.size,
        train_counts=np.bincount(store.label[rows], minlength=len(store.classes)).tolist(),
        trusted=config["trusted"],
    )  # fmt: skip
    data = build_data(config, store, Split(rows, nothing, split.test, split.settings))
    prepare_networks(task, settings)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        callbacks = [
            EpochCheckpoint(Path(folder)), SeedEachBatch(config["seed"]), Alarms(),
            StopAtNonfinite(Path(folder), store.id, settings["log_every"]), Gauges(),
            *([Compiled(settings["compile"])] if settings["compile"] else []), Blocks(pipe, length),
        ]  # fmt: skip
        trainer = build_trainer(settings, [], callbacks, validates=False)
        leave_signals_alone(trainer)
        try:
            trainer.fit(task, data)
        except Finished:
            return


class Training:
    """A training in a process of its own; `block` lets it go on. To be used as a context."""

    def __init__(self, overrides: Sequence[str], length: Length, blocks: int) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawned.Pipe()
        self._process = spawned.Process(
            target=train, args=(list(overrides), theirs, length, blocks), daemon=False
        )
        self._process.start()
        # Ours alone, so that its end is seen when the process ends.
        theirs.close()

    def block(self) -> Block:
        """Train one block. Raises RuntimeError where the process has ended."""
        try:
            self._pipe.send(True)
            found: Block = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError("the training ended early; its message stands above") from error
        return found

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._pipe.send(False)
        self._process.join(60)
        if self._process.is_alive():
            self._process.terminate()
