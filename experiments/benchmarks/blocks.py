"""Blocks of training steps, each when it is asked for, and what they measure."""

import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from hep2gan.training.callbacks.throughput import GIB, peak_memory_gib
from hep2gan.training.profiler import mark, seconds_between, wait


class Length(NamedTuple):
    """Of a block: steps that are timed, and steps before them that are not.

    The latter empty what loaders have fetched while the training stood still.
    """

    timed: int = 30
    settling: int = 5


class Block(NamedTuple):
    """What one block measured: seconds of a step, cells a second, GiB held at most so far.

    waiting: share of the time between the end of a step and the start of the next, as the device
    sees it: loading, transfer, normalisation and augmentation, and all waits for them.
    """

    step: float
    cells_per_second: float
    waiting: float
    memory: float


class Finished(Exception):  # noqa: N818
    """Enough blocks."""


class Blocks(Callback):
    """Stand still after each block until the next is asked for through `pipe`, and answer with it.

    On a GPU, steps are timed by CUDA events, and the host waits for the device at the borders of a
    block alone.
    """

    def __init__(self, pipe: Connection, length: Length) -> None:
        self._pipe, self._length = pipe, length
        self._steps = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any
    ) -> None:
        """Wait to be asked for a block; start the clock once it has settled."""
        if self._steps == 0 and not self._pipe.recv():
            raise Finished
        if self._steps == self._length.settling:
            wait(pl_module.device)
            self._since, self._starts, self._ends = time.perf_counter(), list[Any](), list[Any]()
        if self._steps >= self._length.settling:
            self._starts.append(mark(pl_module.device))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Stop the clock after the last step of a block, and answer."""
        if self._steps >= self._length.settling:
            self._ends.append(mark(pl_module.device))
        self._steps = (self._steps + 1) % sum(self._length)
        if self._steps == 0:
            self._pipe.send(self._measured(pl_module.device, len(batch.label)))

    def _measured(self, device: torch.device, cells: int) -> Block:
        wait(device)
        step = (time.perf_counter() - self._since) / self._length.timed
        apart = zip(self._ends[:-1], self._starts[1:], strict=True)
        whole = seconds_between(self._starts[0], self._ends[-1])
        waiting = sum(seconds_between(end, start) for end, start in apart) / whole
        return Block(step, cells / step, waiting, _held_gib(device))


def _held_gib(device: torch.device) -> float:
    # What was reserved, in which the memory of CUDA graphs is counted too.
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / GIB
    return peak_memory_gib(device) or 0.0
