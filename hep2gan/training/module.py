"""Generator, discriminator and classifier trained together under manual optimization."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hep2gan.data.batch import Batch
from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.classification import ClassificationLoss
from hep2gan.losses.mask_softening import MaskSoftening
from hep2gan.losses.segmentation import GeneratorLoss
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.models.guidance import MaskGuidance, TrainingStages, frozen
from hep2gan.models.output import ModelOutput
from hep2gan.models.test_time_augmentation import TestTimeAugmentation
from hep2gan.training import distributed
from hep2gan.training.distributed import running_statistics
from hep2gan.training.nonfinite import SkipNonfinite

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]
Terms = dict[str, Tensor]


class SegmentationGuidedClassification(L.LightningModule):
    """One training step is D, then G, then the classifier, from one forward of G (Fig. 1).

    Any part may be missing, but there is no discriminator without a generator, and it comes with
    the adversarial losses. Each network that is there needs an entry in `optimizers`. The
    classifier's optimizer also holds the parameters of the Gaussian-mixture loss, without weight
    decay. skipping: leaves out updates that are not finite; None makes every update.
    """

    def __init__(
        self,
        *,
        generator: nn.Module | None,
        discriminator: nn.Module | None,
        classifier: nn.Module | None,
        adversarial_loss: AdversarialLoss | None,
        generator_loss: GeneratorLoss,
        classification_loss: ClassificationLoss | None,
        optimizers: Mapping[str, OptimizerFactory],
        schedules: Mapping[str, ScheduleFactory | None],
        metrics: ValidationMetrics,
        softening: MaskSoftening | None = None,
        guidance: MaskGuidance | None = None,
        stages: TrainingStages | None = None,
        views: TestTimeAugmentation | None = None,
        log_every: int = 10,
        skipping: SkipNonfinite | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.classifier = classifier
        self.adversarial_loss, self.generator_loss = adversarial_loss, generator_loss
        self.classification_loss = classification_loss
        self.softening = softening or MaskSoftening()
        self.metrics = metrics
        self.guidance, self.stages = guidance or MaskGuidance(), stages or TrainingStages()
        self.views = views or TestTimeAugmentation()
        self._optimizer_factories, self._schedule_factories = optimizers, schedules
        self._log_every, self._skipping = log_every, skipping
        self._sums: Terms = {}
        self._batches = 0
        self._within_epoch: dict[str, Any] | None = None
        # Told which part of which network's step is done: a profile listens for a while.
        self.passed: Callable[[str, str], object] = unheard
        _check_parts(self)
        # In plain dicts, so that their names stay out of the state_dict.
        self.parts: dict[str, nn.Module] = dict(self.networks)
        if self.classifier is not None:
            self.parts["classifier"] = ClassifierWithLoss(self.classifier, classification_loss)
        self._through = self.parts

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that are there, by name, in the order of their steps."""
        parts = {
            "discriminator": self.discriminator,
            "generator": self.generator,
            "classifier": self.classifier,
        }
        return {name: network for name, network in parts.items() if network is not None}

    def train_through(self, parts: Mapping[str, nn.Module]) -> None:
        """Take training steps through wrappers of `parts`, which reduce gradients over ranks."""
        self._through = dict(parts)

    # ------------------------------------------------------------------ optimization

    def configure_optimizers(self) -> Any:
        """One optimizer a network, each parameter in exactly one of them."""
        optimizers = [
            self._optimizer_factories[name](self._parameter_groups(name)) for name in self.networks
        ]
        self._scheduled = [name for name in self.networks if self._schedule_factories.get(name)]
        schedulers = [
            factory(optimizer)
            for name, optimizer in zip(self.networks, optimizers, strict=True)
            if (factory := self._schedule_factories.get(name))
        ]
        return optimizers, schedulers

    def _parameter_groups(self, name: str) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.networks[name].parameters())}]
        loss = self.classification_loss
        if name == "classifier" and loss is not None and (means := list(loss.parameters())):
            groups.append({"params": means, "weight_decay": 0.0})
        return groups

    def _optimizer(self, name: str) -> Any:
        optimizers = self.optimizers()
        # Lightning hands out the object itself where there is only one.
        every = optimizers if isinstance(optimizers, list) else [optimizers]
        return every[list(self.networks).index(name)]

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self._optimizer(name)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.passed(name, "backward")
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        skipping = self._skipping
        if skipping is None or skipping.allows(name, loss, optimizer, scaled=scaled):
            optimizer.step()
        self.passed(name, "optimizer")

    # ------------------------------------------------------------------ training

    def on_train_start(self) -> None:
        """Go on within an epoch that was left in its middle."""
        if self._within_epoch is not None:
            statistics = running_statistics(self)
            for name, tensor in self._within_epoch["statistics"].items():
                statistics[name].copy_(tensor)
            self._sums = {k: v.to(self.device) for k, v in self._within_epoch["sums"].items()}
            self._batches = self._within_epoch["batches"]
            if self._skipping is not None and self._within_epoch.get("skipping"):
                self._skipping.load_state_dict(self._within_epoch["skipping"])
            self._within_epoch = None
            # Lightning does not call it when it starts in the middle.
            self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Put networks that do not train in this epoch into eval mode; move the margin's ramp."""
        for name, network in self.networks.items():
            network.train(self._trains(name))
        if self.classification_loss is not None:
            self.classification_loss.set_epoch(self.current_epoch)

    @property
    def trained(self) -> list[str]:
        """The networks that take steps in this epoch, in their order."""
        return [name for name in self.networks if self._trains(name)]

    def _trains(self, name: str) -> bool:
        if name == "classifier":
            return self.stages.trains_classifier(self.current_epoch)
        return self.stages.trains_gan(self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Terms:
        """D on true and on detached generated masks; G against frozen D; then the classifier.

        Returns every term of the losses, detached, for callbacks.
        """
        if self._skipping is not None:
            self._skipping.begin(self.networks.values())
        terms: Terms = {}
        generated: Tensor | None = None
        if self.generator is not None and self._trains("generator"):
            generated = self._through["generator"](batch.image).sigmoid()
            self.passed("generator", "G(x)")
            if self.discriminator is not None:
                terms |= self._discriminator_step(batch, generated)
            terms |= self._generator_step(batch, generated)
        elif self.generator is not None:
            with torch.no_grad():
                generated = self.generator(batch.image).sigmoid()
            self.passed("generator", "G(x)")
        if self.classifier is not None and self._trains("classifier"):
            terms |= self._classifier_step(batch, generated)
        self._record(terms, batch_idx)
        self.passed("around the networks", "losses summed and logged")
        return {name: value.detach() for name, value in terms.items()}

    def _discriminator_step(self, batch: Batch, generated: Tensor) -> Terms:
        assert self.adversarial_loss is not None
        discriminator = self._through["discriminator"]
        real = discriminator(batch.image, self.softening(batch.mask))
        fake = discriminator(batch.image, generated.detach())
        self.passed("discriminator", "D(x, y) and D(x, G(x))")
        losses = self.adversarial_loss.discriminator(real, fake)
        self.passed("discriminator", "L_GAN (eq. 1)")
        self._update("discriminator", losses["total"])
        scores = {
            "p_real": real.detach().float().sigmoid().mean(),
            "p_fake": fake.detach().float().sigmoid().mean(),
        }
        return _named("discriminator", losses | scores)

    def _generator_step(self, batch: Batch, generated: Tensor) -> Terms:
        judges = [self.discriminator]
        if self.guidance.gradient:
            judges += [self.classifier, self.classification_loss]
        with frozen(*judges):
            judge = self.discriminator
            judged = None if judge is None else judge(batch.image, generated)
            if judged is not None:
                self.passed("generator", "D(x, G(x))")
            losses = self.generator_loss(judged, generated, batch.mask)
            self.passed("generator", "L_total (eqs 1 to 3)")
            if self.guidance.gradient and self.classifier is not None:
                mask = self.guidance.mask(generated, batch.mask)
                terms = self.parts["classifier"](batch.image, mask, batch.label)
                losses["classification"] = terms["total"]
                losses["total"] = (
                    losses["total"] + self.guidance.gradient * losses["classification"]
                )
            self._update("generator", losses["total"])
        return _named("generator", losses)

    def _classifier_step(self, batch: Batch, generated: Tensor | None) -> Terms:
        mask = self.guidance.mask(None if generated is None else generated.detach(), batch.mask)
        losses: Terms = self._through["classifier"](batch.image, mask, batch.label)
        self._update("classifier", losses["total"])
        return _named("classifier", losses)

    def _record(self, terms: Terms, batch_idx: int) -> None:
        """Sum on the device, without waiting for it; log every few batches."""
        self._batches += 1
        if self._skipping is None or self._skipping.end():
            for name, value in terms.items():
                value = value.detach()
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        if (batch_idx + 1) % self._log_every == 0:
            self._log_step(terms, batch_idx)

    def _log_step(self, terms: Terms, batch_idx: int) -> None:
        values = torch.stack([value.detach() for value in terms.values()]).tolist()
        row = {f"step/{name}": value for name, value in zip(terms, values, strict=True)}
        self._log_row(row, batch_idx)

    def _log_row(self, row: dict[str, float], batch_idx: int) -> None:
        # Straight to the loggers: self.log would repeat a step's values at every batch after it,
        # count optimizer steps, of which a batch has three, and write an epoch's values only
        # after its checkpoint, to be lost if the process dies in between.
        step = self.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        for logger in self.loggers:
            logger.log_metrics(row | {"epoch": float(self.current_epoch)}, step=step)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean of every term and the learning rates, then step the schedules."""
        counted = self._batches - (self._skipping.batches if self._skipping else 0)
        means = {
            f"train/{name}": float(self.trainer.strategy.reduce(value / counted))
            for name, value in self._sums.items()
        }
        rates = {
            f"lr/{name}": float(self._optimizer(name).param_groups[0]["lr"])
            for name in self.networks
        }
        skipped = self._skipping.flush(self.current_epoch, self.networks) if self._skipping else {}
        self._log_row(means | rates | skipped, self._batches - 1)
        if not counted:
            raise Hep2ganError(
                f"no update of epoch {self.current_epoch} was finite",
                "training learns nothing from skipped updates",
                "lower the learning rate (optimizer.*.lr) or look at the data",
            )
        self._sums, self._batches = {}, 0
        for name, value in means.items():
            if not math.isfinite(value):
                raise Hep2ganError(
                    f"{name} is {value} after epoch {self.current_epoch}",
                    "a loss must stay finite",
                    "lower the learning rate (optimizer.*.lr) or start from the last checkpoint",
                )
        self._step_schedules()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Within an epoch, keep what each rank has of its own: sums of losses, statistics."""
        if self._batches:
            mine = {
                "sums": {name: value.detach().cpu() for name, value in self._sums.items()},
                "batches": self._batches,
                "statistics": {k: v.detach().cpu() for k, v in running_statistics(self).items()},
                "skipping": self._skipping.state_dict() if self._skipping else None,
            }
            checkpoint["ranks"] = distributed.gather(mine)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember this rank's own part for `on_train_start`, which runs after DDP's broadcast."""
        parts = checkpoint.get("ranks")
        if parts is not None and len(parts) != distributed.world_size():
            raise Hep2ganError(
                f"the run was stopped within an epoch of {len(parts)} ranks, now there are"
                f" {distributed.world_size()}",
                "an epoch is finished with as many devices as it was begun with",
                "set trainer.devices and trainer.nodes as before",
            )
        self._within_epoch = parts[distributed.rank()] if parts else None

    def _step_schedules(self) -> None:
        schedulers = self.lr_schedulers()
        every = schedulers if isinstance(schedulers, list) else [schedulers]
        for name, scheduler in zip(self._scheduled, every, strict=False):
            if self._trains(name):
                scheduler.step()  # type: ignore[union-attr]

    # ------------------------------------------------------------------ evaluation

    def forward(self, image: Tensor, truth: Tensor | None = None) -> ModelOutput:
        """Segment and classify (B, 1, H, W) images; D has no part in it (section III-B)."""
        return self.views.mean(self._one_view, image, truth)

    def _one_view(self, image: Tensor, truth: Tensor | None) -> ModelOutput:
        mask = None if self.generator is None else self.generator(image).sigmoid()
        logits = features = logits_true = None
        if self.classifier is not None:
            logits, features = self.classifier(image, self.guidance.mask(mask, truth))
            if truth is not None and self.guidance.source == "generated":
                logits_true, _ = self.classifier(image, truth)
        return ModelOutput(mask, _probabilities(logits), _probabilities(logits_true), features)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Feed the metrics; nothing is computed until the epoch ends."""
        outputs: ModelOutput = self(batch.image, batch.mask)
        self.metrics.update(
            outputs.mask,
            outputs.probabilities,
            outputs.features,
            truth=batch.mask,
            label=batch.label,
        )

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation part."""
        values = self.metrics.flush()
        done = int(self.trainer.num_training_batches)
        self._log_row(values, done - 1)
        # For the choice of the best epoch; all ranks have the same values.
        self.log_dict(values, logger=False, sync_dist=False)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return the `rows` of the store and the `outputs` for them, on the CPU."""
        outputs: ModelOutput = self(batch.image, batch.mask)
        return {"rows": batch.rows.cpu(), "outputs": outputs.cpu()}


def unheard(network: str, part: str) -> None:
    """Nobody asks which part of a step is done."""


class ClassifierWithLoss(nn.Module):
    """The classifier and its loss as one module, whose parameters one update trains."""

    def __init__(self, classifier: nn.Module, loss: ClassificationLoss | None) -> None:
        super().__init__()
        assert loss is not None
        self.classifier, self.loss = classifier, loss

    def forward(self, image: Tensor, mask: Tensor | None, label: Tensor) -> Terms:
        """The named terms of the loss on (B, 1, H, W) images and masks and (B,) labels."""
        logits, features = self.classifier(image, mask)
        terms: Terms = self.loss(logits, features, label)
        return terms


def _probabilities(logits: Tensor | None) -> Tensor | None:
    return None if logits is None else logits.float().softmax(dim=1)


def _named(network: str, losses: Mapping[str, Tensor]) -> Terms:
    return {f"{network}/{name}": value for name, value in losses.items()}


def _check_parts(task: SegmentationGuidedClassification) -> None:
    if task.generator is None and task.discriminator is not None:
        raise Hep2ganError("there is a discriminator", "it needs a generator to judge")
    losses = (task.adversarial_loss, task.generator_loss.adversarial)
    if task.generator is not None and any(
        (loss is None) != (task.discriminator is None) for loss in losses
    ):
        raise Hep2ganError(
            "discriminator and adversarial losses come together",
            "one of them is missing",
            "give all or none of them",
        )
    if not task.networks:
        raise Hep2ganError("there is nothing to train", "", "set segment=true or classify=true")
    if task.classifier is None:
        return
    if task.classification_loss is None:
        raise Hep2ganError("the classifier has no loss", "", "give classification_loss")
    if task.generator is None and task.guidance.source == "generated":
        raise Hep2ganError(
            "guidance.source is generated, but there is no generator",
            "a generated mask needs segment=true",
            "set guidance.source=none or ground_truth",
        )
