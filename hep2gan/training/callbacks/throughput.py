"""How fast training goes and what it takes: logged once an epoch."""

import sys
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from hep2gan.training.profiler import wait

GIB = 2**30


class ThroughputMonitor(Callback):
    """Log speed/* once an epoch, to every logger of the trainer.

    cells_per_second: over all devices, validation left out. seconds_per_epoch: the same time.
    share_waiting_for_data: of it, between the end of a batch and the start of the next.
    memory_gib: the most that torch held on this process's GPU, or that the process held where there
    is none (left out on Windows), since the start.

    Nothing here waits for the device inside the epoch, so that on a GPU the share of waiting is
    that of the host, which runs ahead.
    """

    def __init__(self) -> None:
        self._cells = 0
        self._begun = self._apart = self._waited = 0.0
        self._since: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock also within an epoch, whose beginning Lightning does not tell again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._cells, self._apart, self._waited = 0, 0.0, 0.0
        self._begun = self._since = time.perf_counter()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Count the time since the batch before."""
        if self._since is not None:
            self._waited += time.perf_counter() - self._since

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the cells, whose number is known without asking the device."""
        self._cells += len(batch.label)
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock, once the device has done the training so far."""
        wait(pl_module.device)
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock go on."""
        wait(pl_module.device)
        self._apart += time.perf_counter() - self._paused

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch; before its checkpoint, as the losses are."""
        wait(pl_module.device)
        seconds = max(time.perf_counter() - self._begun - self._apart, 1e-9)
        cells = torch.tensor(float(self._cells), device=pl_module.device)
        total = float(trainer.strategy.reduce(cells, reduce_op="sum"))
        row = {
            "speed/cells_per_second": total / seconds,
            "speed/seconds_per_epoch": seconds,
            "speed/share_waiting_for_data": min(self._waited / seconds, 1.0),
            "epoch": float(trainer.current_epoch),
        }
        memory = peak_memory_gib(pl_module.device)
        if memory is not None:
            row["speed/memory_gib"] = memory
        step = (trainer.current_epoch + 1) * int(trainer.num_training_batches) - 1
        for logger in trainer.loggers:
            logger.log_metrics(row, step=step)


def peak_memory_gib(device: torch.device) -> float | None:
    """The most memory held so far in GiB: by torch on a GPU, else by this process.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return most / GIB if sys.platform == "darwin" else most * 1024 / GIB
