"""Generator, discriminator and classifier trained together under manual optimization."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hep2gan.data.batch import Batch
from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.autocast import without_autocast
from hep2gan.losses.classification import ClassificationLoss, GaussianMixtureLoss
from hep2gan.losses.segmentation import GeneratorLoss, MaskSoftening
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.models.cross_fitting import CrossFittedNetwork
from hep2gan.models.guidance import GENERATED, MaskGuidance, TrainingStages, frozen
from hep2gan.models.output import ModelOutput, TestTimeAugmentation
from hep2gan.training.devices import full_float32
from hep2gan.training.profiler import record

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]
ShouldStep = Callable[[str, Tensor, Optimizer], bool]
Terms = dict[str, Tensor]
RunStep = Callable[[Batch, int], Terms]


class SegmentationGuidedClassification(L.LightningModule):
    """One training step is D, then G, then the classifier, from one forward of G (Fig. 1).

    Any network may be missing, but a discriminator requires a generator and the adversarial losses.
    The step neither logs nor waits for the device: it returns the terms of its losses, and
    callbacks do the rest.

    Attributes:
        optimized_modules: What each optimizer updates, by network: the network itself, the
            classifier together with its loss. A strategy may replace them by DDP wrappers.
        should_step: Called before every update with the network's name, its loss and its optimizer;
            a callback may replace it to skip updates.
        run_step: Does a training step; a callback may replace it by one that does the same as
            `update_networks` in another way.

    Args:
        generator: Maps images (B, 1, H, W) to mask logits of that shape.
        discriminator: Maps images and masks to patch logits (B, 1, h, w).
        classifier: Maps images and masks (or None) to logits (B, K) and features (B, D).
        adversarial_loss: Loss of the discriminator (eq. 1).
        generator_loss: Loss of the generator (eq. 3).
        classification_loss: Loss of the classifier (eq. 7), whose optimizer also updates the loss's
            parameters, the means of the Gaussian mixture, without weight decay.
        optimizers: A factory for each network.
        schedules: Schedules of the learning rates, by network, stepped after each epoch in which
            the network trains.
        clip_norms: Largest norm of the gradient, by network; a network without one is not clipped.
        metrics: Metrics of the validation part.
        softening: Softening of the true masks that D sees; None for the default.
        guidance: How the mask reaches the classifier; None for the default.
        stages: Which networks train in which epoch; None for all in each.
        views: Test-time augmentation; None for one view.

    Raises:
        Hep2ganError: These networks and losses cannot train together.
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
        clip_norms: Mapping[str, float] | None = None,
        softening: MaskSoftening | None = None,
        guidance: MaskGuidance | None = None,
        stages: TrainingStages | None = None,
        views: TestTimeAugmentation | None = None,
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
        self.should_step: ShouldStep = update_always
        self.run_step: RunStep = self.update_networks
        self._optimizer_factories, self._schedule_factories = optimizers, schedules
        self._clip_norms = dict(clip_norms or {})
        _check_networks(self)
        # In a plain dict, so that their names stay out of the state_dict.
        self.optimized_modules: dict[str, nn.Module] = dict(self.networks)
        if classifier is not None and classification_loss is not None:
            self.optimized_modules["classifier"] = ClassifierWithLoss(
                classifier, classification_loss
            )

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that are there, by name, in the order of their steps."""
        networks = {
            "discriminator": self.discriminator,
            "generator": self.generator,
            "classifier": self.classifier,
        }
        return {name: network for name, network in networks.items() if network is not None}

    @property
    def mixture(self) -> GaussianMixtureLoss | None:
        """The Gaussian mixture of the features (eq. 6), if the method has one."""
        loss = self.classification_loss
        return None if loss is None else loss.gaussian_mixture

    @property
    def trained(self) -> list[str]:
        """The networks that take steps in this epoch, in their order."""
        epoch = self.current_epoch
        trains = {"classifier": self.stages.trains_classifier(epoch)}
        return [name for name in self.networks if trains.get(name, self.stages.trains_gan(epoch))]

    # ------------------------------------------------------------------ training step

    def training_step(self, batch: Batch, batch_idx: int) -> Terms:
        """Train D on true and on detached generated masks; G against frozen D; then the classifier.

        Args:
            batch: Images and masks (B, 1, H, W) with their labels.
            batch_idx: Number of the batch in its epoch.

        Returns:
            Every term of the losses as "network/term", detached, for callbacks.
        """
        return self.run_step(batch, batch_idx)

    def step_kind(self, batch_idx: int) -> tuple[Any, ...]:
        """Tell which steps of this epoch launch the same work on the device.

        Args:
            batch_idx: Number of the batch in its epoch.

        Returns:
            The same value for such steps: the trained networks, and the half of networks that are
            trained by halves.
        """
        crossed = isinstance(self.generator, CrossFittedNetwork)
        return (*self.trained, batch_idx % 2 if crossed else 0)

    def update_networks(self, batch: Batch, batch_idx: int) -> Terms:
        """Do the step, operation by operation.

        Args:
            batch: As in `training_step`.
            batch_idx: As there.

        Returns:
            As there.
        """
        trained, terms = self.trained, Terms()
        for network in (self.generator, self.discriminator):
            if isinstance(network, CrossFittedNetwork):
                network.use(batch_idx % 2)
        mask_logits = self._mask_logits(batch.image, "generator" in trained)
        generated = None if mask_logits is None else mask_logits.sigmoid()
        if generated is not None and "discriminator" in trained:
            terms |= self._discriminator_step(batch, generated)
        if mask_logits is not None and generated is not None and "generator" in trained:
            terms |= self._generator_step(batch, mask_logits, generated)
        if "classifier" in trained:
            terms |= self._classifier_step(batch, generated)
        return {name: term.detach() for name, term in terms.items()}

    def _mask_logits(self, image: Tensor, trains: bool) -> Tensor | None:
        if self.generator is None:
            return None
        with record("generator/G(x)"), torch.set_grad_enabled(trains):
            return cast(Tensor, self.optimized_modules["generator"](image))

    def _discriminator_step(self, batch: Batch, generated: Tensor) -> Terms:
        assert self.adversarial_loss is not None
        discriminator = self.optimized_modules["discriminator"]
        with record("discriminator/D(x, y) and D(x, G(x))"):
            real = discriminator(batch.image, self.softening(batch.mask))
            fake = discriminator(batch.image, generated.detach())
        with record("discriminator/L_GAN (eq. 1)"):
            losses = self.adversarial_loss.discriminator(real, fake)
        losses |= self._update("discriminator", losses["total"])
        losses |= {
            "p_real": real.detach().float().sigmoid().mean(),
            "p_fake": fake.detach().float().sigmoid().mean(),
        }
        return _prefixed("discriminator", losses)

    def _generator_step(self, batch: Batch, mask_logits: Tensor, generated: Tensor) -> Terms:
        # Bare modules judge, frozen: no gradient of theirs is made, nor reduced over ranks.
        judges = [self.discriminator]
        if self.guidance.gradient:
            judges += [self.classifier, self.classification_loss]
        with frozen(*judges):
            judged = None
            if self.discriminator is not None:
                with record("generator/D(x, G(x))"):
                    judged = self.discriminator(batch.image, generated)
            with record("generator/L_total (eqs 1 to 3)"):
                losses = self.generator_loss(judged, mask_logits, batch.mask)
            if self.guidance.gradient and self.classifier is not None:
                self._add_classification(losses, batch, generated)
            losses |= self._update("generator", losses["total"])
        return _prefixed("generator", losses)

    def _add_classification(self, losses: Terms, batch: Batch, generated: Tensor) -> None:
        assert self.classifier is not None
        assert self.classification_loss is not None
        with record("generator/L_out + L_cla (eq. 7)"):
            logits, features = self.classifier(
                batch.image, self.guidance.select(batch.image, generated, batch.mask)
            )
            total = self.classification_loss(logits, features, batch.label)["total"]
            losses["classification"] = total
            losses["total"] = losses["total"] + self.guidance.gradient * total

    def _classifier_step(self, batch: Batch, generated: Tensor | None) -> Terms:
        generated = None if generated is None else generated.detach()
        if isinstance(self.generator, CrossFittedNetwork):
            generated = self.generator.unseen(batch.image).sigmoid()
        mask = self.guidance.select(batch.image, generated, batch.mask)
        losses: Terms = self.optimized_modules["classifier"](batch.image, mask, batch.label)
        losses |= self._update("classifier", losses["total"])
        return _prefixed("classifier", losses)

    def _update(self, name: str, loss: Tensor) -> Terms:
        """Update one network; return the norm of its gradient where it is clipped."""
        optimizer = self._optimizer(name)
        optimizer.zero_grad()
        # A backward pass casts as its forward did; autocast around it would look at each operation.
        with without_autocast(loss):
            with record(f"{name}/backward"):
                self.manual_backward(loss)
            with record(f"{name}/optimizer"):
                norm = self._clip_gradient(name, optimizer)
                if self.should_step(name, loss, optimizer):
                    optimizer.step()
        return norm

    def _clip_gradient(self, name: str, optimizer: Optimizer) -> Terms:
        """Shrink the gradient of a network, already averaged over ranks, to its largest norm."""
        if (largest := self._clip_norms.get(name)) is None:
            return {}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # In float16 gradients are still multiplied by the scale of the loss, as is the bound.
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        norm = nn.utils.clip_grad_norm_(parameters, largest * scale)
        return {"gradient_norm": norm.float() / scale}

    # ------------------------------------------------------------------ optimizers and epochs

    def configure_optimizers(self) -> Any:
        """One optimizer a network, each parameter in exactly one of them."""
        optimizers = {
            name: self._optimizer_factories[name](self._parameter_groups(name))
            for name in self.networks
        }
        self._schedulers = {
            name: schedule(optimizer)
            for name, optimizer in optimizers.items()
            if (schedule := self._schedule_factories.get(name))
        }
        return list(optimizers.values()), list(self._schedulers.values())

    def _parameter_groups(self, name: str) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.networks[name].parameters())}]
        loss = self.classification_loss
        if name == "classifier" and loss is not None and (means := list(loss.parameters())):
            groups.append({"params": means, "weight_decay": 0.0})
        return groups

    def _optimizer(self, name: str) -> Any:
        optimizers = self.optimizers()
        # Lightning returns the object itself where there is only one.
        every = optimizers if isinstance(optimizers, list) else [optimizers]
        return every[list(self.networks).index(name)]

    def on_train_start(self) -> None:
        """Begin an epoch also where training resumes within it: Lightning calls only this hook."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Put networks that do not train in this epoch into eval mode; move the margin's ramp."""
        for name, network in self.networks.items():
            network.train(name in self.trained)
        if self.classification_loss is not None:
            # Before its own stage the classifier stands at its first epoch.
            own = max(self.current_epoch - self.stages.classifier_start, 0)
            self.classification_loss.set_epoch(own)

    def on_train_epoch_end(self) -> None:
        """Step the schedules of the networks that trained."""
        for name, scheduler in self._schedulers.items():
            if name in self.trained:
                scheduler.step()

    # ------------------------------------------------------------------ evaluation

    def forward(self, image: Tensor, truth: Tensor | None = None) -> ModelOutput:
        """Segment and classify images; D has no part in it (section III-B).

        Args:
            image: Normalised images (B, 1, H, W).
            truth: True masks (B, 1, H, W), for guidance by them; None where there are none.

        Returns:
            Masks, probabilities and features, averaged over the test-time views.
        """
        return self.views.average(self.evaluate_view, image, truth)

    def evaluate_view(self, image: Tensor, truth: Tensor | None = None) -> ModelOutput:
        """Segment and classify images as they are, without test-time views.

        Args:
            image: Normalised images (B, 1, H, W).
            truth: As in `forward`.

        Returns:
            Masks, probabilities and features.
        """
        mask = None if self.generator is None else self.generator(image).sigmoid()
        logits = features = logits_true = None
        if self.classifier is not None:
            logits, features = self.classifier(image, self.guidance.select(image, mask, truth))
            if truth is not None and self.guidance.has_own_mask:
                logits_true, _ = self.classifier(image, truth)
        return ModelOutput(mask, _probabilities(logits), _probabilities(logits_true), features)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics, in float32 as every evaluation; they are computed as the epoch ends.

        Args:
            batch: Images and masks (B, 1, H, W) with their labels.
            batch_idx: Number of the batch.
        """
        with full_float32(), without_autocast(batch.image):
            outputs: ModelOutput = self(batch.image, batch.mask)
        self.metrics.update(
            outputs.mask,
            outputs.probabilities,
            outputs.features,
            truth=batch.mask,
            label=batch.label,
        )

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation part, a classifier's from its first epoch on."""
        classified = self.stages.trains_classifier(self.current_epoch)
        values = self.metrics.flush(classified=classified)
        log_row(self.trainer, values)
        # For the choice of the best epoch; all ranks have the same values.
        self.log_dict(values, logger=False, sync_dist=False)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return the outputs for the cells of a batch.

        Args:
            batch: Images and masks (B, 1, H, W) with their rows in the store.
            batch_idx: Number of the batch.

        Returns:
            The `rows` of the store and the `outputs` for them, on the CPU.
        """
        outputs: ModelOutput = self(batch.image, batch.mask)
        return {"rows": batch.rows.cpu(), "outputs": outputs.cpu()}


def update_always(name: str, loss: Tensor, optimizer: Optimizer) -> bool:
    """Make every update: what `should_step` is where nothing replaces it.

    Args:
        name: Name of the network.
        loss: Its total loss.
        optimizer: Its optimizer.

    Returns:
        True.
    """
    return True


def log_row(trainer: L.Trainer, row: Mapping[str, float], batch_idx: int | None = None) -> None:
    """Write a row to every logger.

    Not through LightningModule.log, which repeats a step's values at every batch after it, counts
    optimizer steps, of which a batch has three, and writes an epoch's values only after its
    checkpoint, so that they are lost if the process dies in between.

    Args:
        trainer: The trainer, for its loggers and its epoch.
        row: Values by name.
        batch_idx: Batch of the current epoch that the row belongs to; None for its last.
    """
    batches = int(trainer.num_training_batches)
    step = trainer.current_epoch * batches + (batches - 1 if batch_idx is None else batch_idx)
    for logger in trainer.loggers:
        logger.log_metrics({**row, "epoch": float(trainer.current_epoch)}, step=step)


def raise_alarm(trainer: L.Trainer, kind: str, text: str) -> None:
    """Tell every logger that something is wrong; each keeps the first alarm of a kind alone.

    Args:
        trainer: The trainer, for its loggers and its epoch.
        kind: What is wrong, as a word: `discriminator_won`, `nonfinite_loss`.
        text: A sentence without its full stop.
    """
    for logger in trainer.loggers:
        if log_alarm := getattr(logger, "log_alarm", None):
            log_alarm(kind, f"Epoch {trainer.current_epoch}: {text}.")


class ClassifierWithLoss(nn.Module):
    """The classifier and its loss as one module, whose parameters one update trains.

    Args:
        classifier: The classifier.
        loss: Its loss, eq. 7.
    """

    def __init__(self, classifier: nn.Module, loss: ClassificationLoss) -> None:
        super().__init__()
        self.classifier, self.loss = classifier, loss

    def forward(self, image: Tensor, mask: Tensor | None, label: Tensor) -> Terms:
        """Classify a batch and compute the loss.

        Args:
            image: Normalised images (B, 1, H, W).
            mask: Masks (B, 1, H, W), or None.
            label: Classes (B,).

        Returns:
            The terms of the loss by name.
        """
        with record("classifier/output and features"):
            logits, features = self.classifier(image, mask)
        with record("classifier/L_out + L_cla (eq. 7)"):
            return cast(Terms, self.loss(logits, features, label))


def _probabilities(logits: Tensor | None) -> Tensor | None:
    return None if logits is None else logits.float().softmax(dim=1)


def _prefixed(network: str, losses: Mapping[str, Tensor]) -> Terms:
    return {f"{network}/{name}": value for name, value in losses.items()}


def _check_networks(task: SegmentationGuidedClassification) -> None:
    discriminator, classifier = task.discriminator, task.classifier
    losses = (task.adversarial_loss, task.generator_loss.adversarial)
    rules = [
        (
            task.generator is not None or discriminator is None,
            "there is a discriminator",
            "it needs a generator to judge",
            "",
        ),
        (
            task.generator is None
            or all((loss is None) == (discriminator is None) for loss in losses),
            "discriminator and adversarial losses come together",
            "one of them is missing",
            "give all or none of them",
        ),
        (
            bool(task.networks),
            "there is nothing to train",
            "",
            "set model.segment=true or model.classify=true",
        ),
        (
            classifier is None or task.classification_loss is not None,
            "the classifier has no loss",
            "",
            "give classification_loss",
        ),
        (
            classifier is None
            or task.generator is not None
            or task.guidance.source not in GENERATED,
            f"guidance.source is {task.guidance.source}, but there is no generator",
            "a generated mask needs model.segment=true",
            "set model.guidance.source=none or ground_truth",
        ),
    ]
    for holds, *words in rules:
        if not holds:
            raise Hep2ganError(*words)
