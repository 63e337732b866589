"""A moving average of the weights, which is evaluated in place of the last ones."""

from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hep2gan.runs.checkpoints import Checkpoint
from hep2gan.training import distributed
from hep2gan.training.distributed import running_statistics, sync_batch_norm_statistics

# Evaluation does not use the discriminator.
_AVERAGED = ("generator.", "classifier.", "classification_loss.")


class ExponentialMovingAverage(Callback):
    """Average G, the classifier and the mixture: a ← decay · a + (1 − decay) · w after each batch.

    The average begins with the weights after the first batch and remembers about 1 / (1 − decay)
    batches. It holds the statistics of batch normalisation too. Validation sees it, and checkpoints
    hold it as their `state_dict`, so that whatever opens a run evaluates it; the weights that
    training continues from lie beside it (`trained_weights`). On several ranks the statistics are
    averaged over them like the module's own.

    Lightning's EMAWeightAveraging leaves the average on the CPU where training is on a GPU, copies
    the discriminator too, and knows nothing of ranks whose statistics differ.
    """

    def __init__(self, decay: float) -> None:
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average: dict[str, Tensor] = {}
        self._current: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Collect references to the live tensors, which are on their device now."""
        self._current = averaged_weights(pl_module)
        self._average = {
            name: tensor.to(self._current[name].device) for name, tensor in self._average.items()
        }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Update the average; checkpoint callbacks come after this one."""
        if self._average:
            self._update(list(self._average.values()), list(self._current.values()), 0)
        else:
            self._average = {name: tensor.clone() for name, tensor in self._current.items()}

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average, whose statistics checkpoint callbacks then average over ranks."""
        self._swap()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Continue training the weights."""
        self._swap()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Average the statistics over ranks, also where there is no validation."""
        if distributed.world_size() > 1:
            self._swap()
            sync_batch_norm_statistics(pl_module)
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # In place: optimizers, DDP and compiled networks refer to the tensors themselves.
        for name, average in self._average.items():
            weights = self._current[name].clone()
            self._current[name].copy_(average)
            average.copy_(weights)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average into the state_dict, the weights beside it; called on all ranks."""
        content = cast(Checkpoint, checkpoint)
        state = content["state_dict"]
        content["trained_weights"] = {name: state[name] for name in self._average}
        state.update(self._average)
        # Within an epoch each rank has statistics of its own.
        mine = {name: self._average[name].cpu() for name in self._statistics(pl_module)}
        content["average_statistics"] = distributed.gather(mine)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the average, and give the module the weights; Lightning gave it the average."""
        content = cast(Checkpoint, checkpoint)
        weights, ranks = content["trained_weights"], content["average_statistics"]
        self._average = {name: content["state_dict"][name].clone() for name in weights}
        if len(ranks) == distributed.world_size():
            self._average.update(ranks[distributed.rank()])
        pl_module.load_state_dict(weights, strict=False)

    def _statistics(self, module: L.LightningModule) -> list[str]:
        return [name for name in running_statistics(module) if name in self._average]


def averaged_weights(module: L.LightningModule) -> dict[str, Tensor]:
    """Return the live tensors that are averaged, by their names in the state_dict."""
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if name.startswith(_AVERAGED) and tensor.is_floating_point()
    }
