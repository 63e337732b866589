"""What happens around the training step: checkpoints, seeds, progress, the outputs of a test."""

import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from torch import Tensor

from hep2gan.checkpoints import BEST, epoch_checkpoints
from hep2gan.outputs import Outputs


class EpochCheckpoint(Checkpoint):
    """Save after every epoch, whole or not at all; keep the two newest, and the best.

    monitor: the validation metric whose highest value makes best.ckpt; None keeps the last epoch,
    as the paper does.
    """

    def __init__(self, folder: Path, monitor: str | None = None, keep: int = 2) -> None:
        self._folder, self._monitor, self._keep = folder, monitor, keep
        self._best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The best value so far travels with the checkpoint."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing where the earlier start left off."""
        self._best = state_dict["best"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; Lightning calls checkpoint callbacks after the module has stepped its schedules."""
        better = self._improved(trainer)
        self._save(trainer, self._folder / f"epoch{trainer.current_epoch:04d}.ckpt")
        if better:
            self._save(trainer, self._folder / BEST)
        if trainer.is_global_zero:
            for old in epoch_checkpoints(self._folder)[self._keep :]:
                old.unlink()

    def _improved(self, trainer: L.Trainer) -> bool:
        value = trainer.callback_metrics.get(self._monitor) if self._monitor else None
        if value is None or (self._best is not None and float(value) <= self._best):
            return False
        self._best = float(value)
        return True

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Beside the target: a rename is atomic only inside one file system.
        partial = path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)


class SeedEachEpoch(Callback):
    """Seed torch for (seed, epoch, rank): a resumed run draws what an unbroken one would."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Dropout draws from it; orders and augmentation have generators of their own."""
        torch.manual_seed(hash((self._seed, trainer.current_epoch, trainer.global_rank)))


class CollectOutputs(Callback):
    """Keep what `test_step` returns, batch by batch."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Outputs]] = []

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Take the rows and outputs of one batch."""
        self._batches.append((outputs["rows"], outputs["outputs"]))

    def gathered(self) -> tuple[Tensor, Outputs]:
        """Rows of the store (N,) and the outputs over all of them."""
        rows = torch.cat([rows for rows, _ in self._batches])
        columns = zip(*(outputs for _, outputs in self._batches), strict=True)
        return rows, Outputs(*(None if c[0] is None else torch.cat(c) for c in columns))


def progress_bars() -> list[Callback]:
    """A bar on a terminal, none elsewhere."""
    return [RichProgressBar()] if sys.stdout.isatty() else []
