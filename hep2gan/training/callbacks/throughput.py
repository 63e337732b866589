"""Speed and memory of a training, logged once an epoch."""

import sys
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from hep2gan.training.module import log_row
from hep2gan.training.profiler import wait

GIB = 2**30


class ThroughputMonitor(Callback):
    """Log speed/* once an epoch, to every logger of the trainer.

    cells_per_second: over all devices, validation left out. seconds_per_epoch: the same time.
    share_waiting_for_data: of it, between the end of a batch and the start of the next.
    memory_gib: torch's peak on this process's GPU, or the process's own where there is none (left
    out on Windows), since the start.

    Nothing here waits for the device inside the epoch, so that on a GPU the share of waiting is
    that of the host, which runs ahead.
    """

    def __init__(self) -> None:
        self._cells = 0
        self._started = self._paused = self._waited = 0.0
        self._batch_ended: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock also where training resumes within an epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._cells, self._paused, self._waited = 0, 0.0, 0.0
        self._started = self._batch_ended = time.perf_counter()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Count the time since the batch before."""
        if self._batch_ended is not None:
            self._waited += time.perf_counter() - self._batch_ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the cells, whose number is known without asking the device."""
        self._cells += len(batch.label)
        self._batch_ended = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock, once the device has done the training so far."""
        wait(pl_module.device)
        self._validation_started = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock again."""
        wait(pl_module.device)
        self._paused += time.perf_counter() - self._validation_started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch; before its checkpoint, as the losses are."""
        wait(pl_module.device)
        seconds = max(time.perf_counter() - self._started - self._paused, 1e-9)
        cells = torch.tensor(float(self._cells), device=pl_module.device)
        total = float(trainer.strategy.reduce(cells, reduce_op="sum"))
        row = {
            "speed/cells_per_second": total / seconds,
            "speed/seconds_per_epoch": seconds,
            "speed/share_waiting_for_data": min(self._waited / seconds, 1.0),
        }
        memory = peak_memory_gib(pl_module.device)
        if memory is not None:
            row["speed/memory_gib"] = memory
        log_row(trainer, row)


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the peak memory in GiB: torch's on a GPU, else this process's; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB
