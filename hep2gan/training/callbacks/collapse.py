"""Health of a training: warnings and metrics where it runs but learns nothing."""

import logging
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hep2gan.losses.classification import BOUND, GaussianMixtureLoss
from hep2gan.metrics.segmentation import ConstantMasks
from hep2gan.training.module import SegmentationGuidedClassification, log_row, raise_alarm

log = logging.getLogger(__name__)

DISCRIMINATOR_WON = 0.99
"""Mean D(true mask) above it and D(generated mask) below 1 - WON over an epoch: D has won."""
BOUND_TOLERANCE = 0.99 * BOUND
"""|log-variance| from which one counts as being at its bound."""


class CollapseMonitor(Callback):
    """Log health/* once an epoch; warn, and alarm the dashboards, when a value turns bad.

    health/discriminator_won: 1 where D separates true from generated masks almost perfectly in an
    epoch; G then learns from pixels alone. health/constant_masks: 1 where all masks of the
    validation part are empty, full or the same. health/variance_at_bound:
    share of the mixture's log-variances at their bound. Metrics that do not apply to a method are
    left out.
    """

    def __init__(self) -> None:
        self._scores: Tensor | None = None
        self._batches = 0
        self._constant_masks = ConstantMasks()
        self._hook: RemovableHandle | None = None
        self._warned: set[str] = set()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Sum D's outputs on the device, without waiting for it."""
        if "discriminator/p_real" in outputs:
            scores = torch.stack([outputs[f"discriminator/p_{kind}"] for kind in ("real", "fake")])
            self._scores = scores if self._scores is None else self._scores + scores
            self._batches += 1

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Watch the generator's masks."""
        if isinstance(generator := pl_module.generator, nn.Module):
            self._constant_masks.to(pl_module.device).reset()
            self._hook = generator.register_forward_hook(
                lambda _module, _input, logits: self._constant_masks.update(logits.detach() >= 0)
            )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log whether all masks were alike."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        kind = self._constant_masks.compute()
        log_row(
            trainer,
            self._judge(
                "constant_masks",
                float(kind is not None),
                f"every generated mask of the validation part is {kind}: the generator does not"
                " segment. If more epochs do not change that, lower optimizer.generator.lr or"
                " loss.alpha",
                trainer,
            ),
        )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the state of the GAN and of the mixture."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        if row := self._discriminator(trainer) | self._mixture(trainer, pl_module):
            log_row(trainer, row)

    def _discriminator(self, trainer: L.Trainer) -> dict[str, float]:
        if self._scores is None:
            return {}
        mean = trainer.strategy.reduce(self._scores / self._batches)
        self._scores, self._batches = None, 0
        real, fake = mean.tolist()
        return self._judge(
            "discriminator_won",
            float(real > DISCRIMINATOR_WON and fake < 1 - DISCRIMINATOR_WON),
            f"the discriminator has won (true masks {real:.3f}, generated {fake:.3f}): the"
            " generator learns from pixels alone. Lower optimizer.discriminator.lr, or set"
            " loss.adversarial.label_smoothing=0.1 or loss.soften",
            trainer,
        )

    def _mixture(
        self, trainer: L.Trainer, task: SegmentationGuidedClassification
    ) -> dict[str, float]:
        loss = task.classification_loss.gaussian_mixture if task.classification_loss else None
        if loss is None or loss.free_log_variance is None:
            return {}
        share = share_at_bound(loss)
        return self._judge(
            "variance_at_bound",
            share,
            f"{share:.0%} of the mixture's log-variances are at their bound of ±{BOUND:g}."
            " Lower loss.gaussian_mixture.gamma, or set covariance=identity",
            trainer,
        )

    def _judge(self, name: str, value: float, text: str, trainer: L.Trainer) -> dict[str, float]:
        """Warn when a value rises above 0, not again while it stays so; returns its row."""
        if value > 0 and name not in self._warned:
            log.warning("Epoch %d: %s.", trainer.current_epoch, text)
            raise_alarm(trainer, name, text)
        self._warned = self._warned | {name} if value > 0 else self._warned - {name}
        return {f"health/{name}": value}


def share_at_bound(mixture: GaussianMixtureLoss) -> float:
    """Compute the share of the learned log-variances that are at their bound.

    Args:
        mixture: The mixture of the classifier's loss.

    Returns:
        The share, 0 to 1; 0 where no variance is learned.
    """
    return float((mixture.log_variance.detach().abs() >= BOUND_TOLERANCE).float().mean())
