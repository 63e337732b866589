"""Early stopping: a training ends when its validation metric no longer improves."""

import logging
from typing import Literal

import lightning as L
from lightning.pytorch.callbacks.early_stopping import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from hep2gan.errors import pluralize
from hep2gan.metrics.validation import monitor_name
from hep2gan.models.guidance import TrainingStages
from hep2gan.settings import NonNegative, PositiveInt, Text

log = logging.getLogger(__name__)


class EarlyStopping(LightningEarlyStopping):
    """End the training when a metric of the validation part has not improved for some time.

    The epoch is saved, and the run is tested with its best epoch and finished as any other. A run
    that is resumed after its end was decided does not train again. With `training.two_stage` the
    epochs of the GAN alone do not count.

    Args:
        patience: Validations without an improvement after which the training ends.
        monitor: The metric, such as `val/dice`; None for the one that chooses the epoch: `val/f1`
            with a classifier, else `val/dice`.
        mode: Whether a better value is larger (`max`) or smaller (`min`).
        min_delta: Smallest change that counts as an improvement.
    """

    def __init__(
        self,
        patience: PositiveInt = 10,
        monitor: Text | None = None,
        mode: Literal["max", "min"] = "max",
        min_delta: NonNegative = 0.0,
    ) -> None:
        super().__init__(
            monitor or "", patience=patience, mode=mode, min_delta=min_delta, strict=True
        )

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint."""
        return type(self).__name__

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Choose the metric where none is named."""
        super().setup(trainer, pl_module, stage)
        self.monitor = self.monitor or monitor_name(pl_module.classifier is not None)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End at once where the end was decided before the run was interrupted."""
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True

    def _run_early_stopping_check(self, trainer: L.Trainer) -> None:
        stages = getattr(trainer.lightning_module, "stages", TrainingStages())
        if not stages.trains_classifier(trainer.current_epoch):
            return
        super()._run_early_stopping_check(trainer)
        if trainer.should_stop and trainer.is_global_zero:
            log.info(
                "Stopped early after epoch %d: %s has not been better than %.4f in %s.",
                trainer.current_epoch + 1,
                self.monitor,
                float(self.best_score),
                pluralize(self.wait_count, "validation"),
            )
