"""The losses and learning rates of a training, for its loggers."""

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


class LogLosses(Callback):
    """Log step/* every few batches, and once an epoch the means train/* and the rates lr/*.

    Means are summed on the device, which is waited for only where values are logged. A checkpoint
    within an epoch holds the sums of each rank.

    Args:
        every: batches between two rows of step/*.
        skipping: tells which batches are left out of the means; None counts all.
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
            row = {f"step/{name}": value for name, value in zip(outputs, values, strict=True)}
            log_row(trainer, row, batch_idx)

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
        mine: LossSums = {"sums": sums, "batches": self._batches}
        state: EpochLosses = {"ranks": distributed.gather(mine)}
        return dict(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this rank's sums up."""
        mine = cast(EpochLosses, state_dict)["ranks"][distributed.rank()]
        self._sums, self._batches = mine["sums"], mine["batches"]
