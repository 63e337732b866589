"""What lets a training resume to the bit: checkpoints, seeds of batches, an unchanged store."""

import faulthandler
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor

from hep2gan.data.store.integrity import FILES
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_open
from hep2gan.runs.checkpoints import (
    BEST,
    BestValue,
    TrainingPosition,
    improves,
    list_checkpoints,
    read_checkpoint,
)
from hep2gan.runs.checkpoints import Checkpoint as CheckpointContent
from hep2gan.training import distributed
from hep2gan.training.signals import RunStopped, SignalHandler


class AtomicCheckpointIO(CheckpointIO):
    """Write checkpoints atomically, on any file system; read them without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a temporary file beside `path` and rename it.

        Args:
            checkpoint: The content.
            path: The file.
            storage_options: Not used.

        Raises:
            Hep2ganError: The file cannot be written, for instance on a full disk.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_open(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            raise Hep2ganError(
                f"{path} cannot be written ({error})",
                "the run stops; the checkpoints before it are intact",
                "free space on the disk and run the same command again: it resumes from them",
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without running code, see `read_checkpoint`.

        Args:
            path: The file.
            map_location: Not used; tensors are loaded on the CPU.
            weights_only: Not used; always true.

        Returns:
            The content.

        Raises:
            Hep2ganError: The file is missing or damaged.
        """
        return dict(read_checkpoint(Path(path)))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint.

        Args:
            path: The file, which need not exist.
        """
        Path(path).unlink(missing_ok=True)


class EpochCheckpoint(Checkpoint):
    """Save after every epoch and when a stop is requested; keep the newest, and the best.

    A checkpoint within an epoch also holds the statistics of batch normalisation of each rank,
    which are averaged at the epoch's end.

    Args:
        folder: Folder of the checkpoints.
        monitor: The validation metric whose highest value makes best.ckpt; None keeps the last
            epoch, as the paper does.
        stop: Asked after every batch; when a stop was requested, the batch is finished, everything
            is saved and `RunStopped` raised, on all ranks alike.
        keep: How many of the newest are kept.
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
        self._handler = stop or SignalHandler()
        self._stop = distributed.StopConsensus(self._handler)
        self._within_epoch = False
        self._statistics: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return dict(BestValue(best=self._best))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue comparing with the best value of earlier starts."""
        self._best = cast(BestValue, state_dict)["best"]

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Within an epoch, add the statistics of all ranks. Called on every rank."""
        if self._within_epoch:
            statistics = distributed.running_statistics(pl_module)
            cast(CheckpointContent, checkpoint)["running_statistics"] = distributed.gather(
                {name: tensor.cpu() for name, tensor in statistics.items()}
            )

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember this rank's statistics; raise Hep2ganError if the number of ranks changed."""
        ranks = cast(CheckpointContent, checkpoint).get("running_statistics")
        if ranks is None:
            return
        if len(ranks) != distributed.world_size():
            raise Hep2ganError(
                f"the run was stopped within an epoch of {len(ranks)} ranks, now there are"
                f" {distributed.world_size()}",
                "an epoch is finished with as many devices as it was begun with",
                "set trainer.devices and trainer.num_nodes as before",
            )
        self._statistics = ranks[distributed.rank()]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore this rank's statistics, over which DDP has broadcast those of rank 0."""
        for name, tensor in distributed.running_statistics(pl_module).items():
            if name in self._statistics:
                tensor.copy_(self._statistics[name])
        self._statistics = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop here if it was requested during the last batch of the epoch before."""
        if signum := self._stop.wait():
            raise RunStopped(signum)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Save within the epoch and stop, if requested; the end of an epoch saves by itself."""
        done, signum = args[-1] + 1, self._stop.poll()
        if signum and done < trainer.num_training_batches:
            self._save(trainer, TrainingPosition(trainer.current_epoch, done))
            raise RunStopped(signum)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All ranks validate the same networks."""
        distributed.sync_batch_norm_statistics(pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; Lightning calls checkpoint callbacks after the module has stepped its schedules."""
        distributed.sync_batch_norm_statistics(pl_module)
        improved = self._improved(trainer)
        self._save(trainer, TrainingPosition(trainer.current_epoch + 1, 0))
        if improved:
            with self._handler.saving():
                trainer.save_checkpoint(self._folder / BEST)

    on_train_end = on_train_epoch_start
    """A stop requested during the last epoch comes before the test."""

    def _improved(self, trainer: L.Trainer) -> bool:
        logged = trainer.callback_metrics.get(self._monitor) if self._monitor else None
        value = None if logged is None else float(logged)
        if improved := improves(value, self._best):
            self._best = value
        return improved

    def _save(self, trainer: L.Trainer, position: TrainingPosition) -> None:
        self._within_epoch = position.batches > 0
        with self._handler.saving():
            trainer.save_checkpoint(position.path(self._folder))
        if trainer.is_global_zero:
            for old in list_checkpoints(self._folder)[self._keep :]:
                old.unlink()


class SeedEachBatch(Callback):
    """Seed torch for (seed, epoch, batch, rank): a resumed run samples what an unbroken one would.

    Dropout samples from it; orders and augmentation have generators of their own. No random state
    need be saved.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called before every step."""
        # The leading 3 keeps these numbers apart from those of orders and augmentation.
        numbers = [3, self._seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
        # Not torch.manual_seed: where no GPU is in use, each call keeps the text of three stack
        # traces for devices that may be initialised later.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)


class StoreGuard(Callback):
    """Keep cells of a changed store out of the checkpoints: check before each is written.

    Files that are deleted, or replaced by another pack, do no harm: what was opened stays as it was
    until the run ends. Files that are written in place do, and stop the run. Each batch checks for
    itself whether files were truncated; if that happens between check and reading, the system ends
    the process at once (SIGBUS), with a stack trace that shows where.

    Args:
        store: The store of the run.
    """

    def __init__(self, store: Store) -> None:
        self._folder = store.path
        # Only what stays open: the number of a replaced file that is not goes to the next one.
        files = [store.path / name for name in sorted(FILES) if name.endswith(".npy")]
        self._opened = {path: state for path in files if (state := _file_state(path))}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a stack trace on SIGBUS."""
        # Not possible where standard error is no file, as in a notebook.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            if not faulthandler.is_enabled():
                faulthandler.enable()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Raise Hep2ganError where a file is no longer what the run opened."""
        for path, opened in self._opened.items():
            now = _file_state(path)
            if now is not None and now[0] == opened[0] and now != opened:
                raise Hep2ganError(
                    f"{path} was changed while the run used it",
                    "a run has one store; the checkpoints before are of the unchanged one",
                    f"restore {self._folder} (pack it again from the same cells), and run the same"
                    " command again: it resumes from the last checkpoint",
                )


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """Inode, bytes and time of the last change; None for a file that is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
