"""Real trainings in processes of their own, which go on by blocks of steps."""

import io
import multiprocessing
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import lightning as L
import numpy as np

from experiments.benchmarks.blocks import Block, Blocks, Finished, Length
from experiments.benchmarks.configured import composed, repeated
from hep2gan.data.prepare import open_store
from hep2gan.data.splits import make_split
from hep2gan.io import silence_libraries
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_task
from hep2gan.training.setup import build_data
from hep2gan.training.signals import SignalHandler
from hep2gan.training.strategy import disable_lightning_signal_handlers
from hep2gan.training.trainer import build_callbacks, build_trainer, prepare_networks


def train(overrides: Sequence[str], pipe: Connection, length: Length, blocks: int) -> None:
    """Train on drawn cells, which come again and again, with the callbacks of hep2gan-train."""
    silence_libraries()
    config = composed(overrides)
    settings = config["trainer"] | {"max_epochs": 1}
    L.seed_everything(config["seed"], verbose=False)
    store = open_store(config["data"])
    # One block more, so that the end of the epoch is never reached.
    cells = (blocks + 1) * sum(length) * settings["batch_size"]
    split = repeated(make_split(store, **config["split"]), cells)
    task = build_task(
        config, classes=store.classes, size=store.size,
        train_counts=np.bincount(store.label[split.train], minlength=len(store.classes)).tolist(),
        trusted=config["trusted"],
    )  # fmt: skip
    data = build_data(config, store, split)
    prepare_networks(task, settings)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        every = build_callbacks(config, RunFolder(Path(folder)), data, SignalHandler())
        trainer = build_trainer(settings, [], [*every, Blocks(pipe, length)], validates=False)
        disable_lightning_signal_handlers(trainer)
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
