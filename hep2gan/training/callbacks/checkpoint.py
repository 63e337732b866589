"""What happens around the training step: checkpoints, seeds, stops, the outputs of a test."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_open
from hep2gan.runs.checkpoints import BEST, TrainingPosition, list_checkpoints, read_checkpoint
from hep2gan.training.distributed import StopConsensus, sync_batch_norm_statistics
from hep2gan.training.signals import RunStopped, SignalHandler


class AtomicCheckpointIO(CheckpointIO):
    """Checkpoints that appear whole or not at all, on any file system, and run no code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside `path` and move; raises Hep2ganError if that fails, as on a full disk."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_open(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            raise Hep2ganError(
                f"{path} cannot be written ({error})",
                "the run stops; the checkpoints before it are intact",
                "free space on the disk and give the same command again: the run goes on from them",
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class EpochCheckpoint(Checkpoint):
    """Save after every epoch and when told to stop; keep the two newest, and the best.

    stop: asked after every batch; when a stop was asked for, the batch is finished, everything is
    saved and `RunStopped` raised, on all ranks alike. monitor: the validation metric whose highest
    value makes best.ckpt; None keeps the last epoch, as the paper does.
    """

    def __init__(
        self,
        folder: Path,
        monitor: str | None = None,
        stop: SignalHandler | None = None,
        keep: int = 2,
    ) -> None:
        self._folder, self._monitor, self._keep = folder, monitor, keep
        self._best: float | None = None
        self._stop = StopConsensus(stop or SignalHandler())

    def state_dict(self) -> dict[str, Any]:
        """The best value so far travels with the checkpoint."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing where the earlier start left off."""
        self._best = state_dict["best"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop here when it was asked for during the last batch of the epoch before."""
        if signum := self._stop.settle():
            raise RunStopped(signum)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Save within the epoch and stop, if asked; the end of an epoch saves by itself."""
        done, signum = args[-1] + 1, self._stop.ask()
        if signum and done < trainer.num_training_batches:
            self._save(trainer, TrainingPosition(trainer.current_epoch, done).path(self._folder))
            raise RunStopped(signum)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All ranks validate the same networks."""
        sync_batch_norm_statistics(pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; Lightning calls checkpoint callbacks after the module has stepped its schedules."""
        sync_batch_norm_statistics(pl_module)
        better = self._improved(trainer)
        self._save(trainer, TrainingPosition(trainer.current_epoch + 1, 0).path(self._folder))
        if better:
            trainer.save_checkpoint(self._folder / BEST)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A stop asked for during the last epoch comes before the test."""
        if signum := self._stop.settle():
            raise RunStopped(signum)

    def _improved(self, trainer: L.Trainer) -> bool:
        value = trainer.callback_metrics.get(self._monitor) if self._monitor else None
        if value is None or (self._best is not None and float(value) <= self._best):
            return False
        self._best = float(value)
        return True

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for old in list_checkpoints(self._folder)[self._keep :]:
                old.unlink()
