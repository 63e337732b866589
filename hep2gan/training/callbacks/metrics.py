"""What a training logs once an epoch and every few steps: losses, learning rates, speed, memory."""

import sys
import time
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from hep2gan.data.batch import Batch
from hep2gan.runs.checkpoints import EpochLosses, LossSums
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification, log_row
from hep2gan.training.nonfinite import SkipNonfinite
from hep2gan.training.profiler import wait

GIB = 2**30


class LogLosses(Callback):
    """Log step/* every few batches, and once an epoch the means train/* and the rates lr/*.

    Means are summed on the device, which is waited for only where values are logged. A checkpoint
    within an epoch holds the sums of each rank.

    Args:
        every: Batches between two rows of step/*.
        skipping: Tells which batches are left out of the means; None counts all.
    """

    def __init__(self, every: int, skipping: SkipNonfinite | None = None) -> None:
        self._every, self._skipping = every, skipping
        self._sums: dict[str, Tensor] = {}
        self._batches = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring sums from a checkpoint to the device."""
        self._sums = {name: value.to(pl_module.device) for name, value in self._sums.items()}

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Add the batch's terms; log them when it is time."""
        if self._skipping is None or self._skipping.batch_is_finite:
            self._batches += 1
            for name, value in outputs.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        if (batch_idx + 1) % self._every == 0:
            values = torch.stack([*outputs.values()]).tolist()
            log_row(
                trainer,
                {f"step/{name}": value for name, value in zip(outputs, values, strict=True)},
                batch_idx,
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch, before the module steps its schedules."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        means = {
            f"train/{name}": float(trainer.strategy.reduce(value / self._batches))
            for name, value in self._sums.items()
        }
        rates = {
            f"lr/{name}": float(optimizer.param_groups[0]["lr"])
            for name, optimizer in zip(pl_module.networks, trainer.optimizers, strict=True)
        }
        log_row(trainer, means | rates)
        self._sums, self._batches = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """The sums of all ranks; nothing between epochs. Called on every rank."""
        if not self._batches:
            return {}
        sums = {name: value.cpu() for name, value in self._sums.items()}
        own = LossSums(sums=sums, batches=self._batches)
        return dict(EpochLosses(ranks=distributed.gather(own)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with this rank's sums."""
        own = cast(EpochLosses, state_dict)["ranks"][distributed.rank()]
        self._sums, self._batches = own["sums"], own["batches"]


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

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._cells, self._paused, self._waited = 0, 0.0, 0.0
        self._started = self._batch_ended = time.perf_counter()

    on_train_start = on_train_epoch_start
    """Where training resumes within an epoch, Lightning calls only this hook."""

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
        if (memory := peak_memory_gib(pl_module.device)) is not None:
            row["speed/memory_gib"] = memory
        log_row(trainer, row)


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the peak memory since the start of the process.

    Args:
        device: The device of the training.

    Returns:
        GiB that torch allocated on a GPU, else GiB of this process; None if unknown.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB
