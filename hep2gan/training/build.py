"""Build the task, with its networks, losses and optimizers, from a resolved configuration."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import nn

from hep2gan.config import TRAINED, check_targets, import_class
from hep2gan.errors import Hep2ganError, raise_all
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.classification import ClassificationLoss
from hep2gan.losses.gaussian_mixture import GaussianMixtureLoss
from hep2gan.losses.mask_softening import MaskSoftening
from hep2gan.losses.segmentation import BceDiceLoss, GeneratorLoss, L1Loss
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.models.test_time_augmentation import TestTimeAugmentation
from hep2gan.training.module import OptimizerFactory, SegmentationGuidedClassification
from hep2gan.training.optimizers import build_optimizer

Config = Mapping[str, Any]
T = TypeVar("T")


def build_task(
    config: Config,
    *,
    classes: Sequence[str],
    size: int,
    train_counts: Sequence[int] | None = None,
    load_weights: bool = True,
    trusted: Sequence[str] = (),
) -> SegmentationGuidedClassification:
    """Build the networks, losses and optimizers that `config` describes.

    Args:
        config: The resolved configuration of a run.
        classes: The K pattern names.
        size: Side of the images in pixels.
        train_counts: Cells of each class in the training part, for empirical priors.
        load_weights: Whether networks begin with their pretrained weights; false where a
            checkpoint is loaded next.
        trusted: Packages of the user's own that `_target_` may name.

    Returns:
        The task, on the CPU.

    Raises:
        Hep2ganError: Unknown options, sizes that do not fit or unreachable weights; lists all.
    """
    check_targets(config, trusted)
    loss, epochs = config["loss"], config["trainer"]["max_epochs"]
    tried = _ErrorCollector()
    guidance = tried(lambda: MaskGuidance(**config["guidance"]))
    views = tried(lambda: TestTimeAugmentation(config["test_time_views"]))
    weights: dict[str, Any] = {} if load_weights else {"pretrained": False, "weights": None}
    generator = discriminator = classifier = classification_loss = None
    if config["segment"]:
        generator = tried(lambda: _network(config, "generator", image_size=size, **weights))
        if loss["adversarial"] != "none":
            discriminator = tried(lambda: _network(config, "discriminator"))
    if config["classify"]:
        kwargs = {"num_classes": len(classes), "guided": config["guidance"]["source"] != "none"}
        classifier = tried(lambda: _network(config, "classifier", **kwargs, **weights))
    if classifier is not None:
        classification_loss = tried(
            lambda: _classification_loss(config, classifier, len(classes), train_counts)
        )
    adversarial = tried(lambda: _adversarial_loss(loss))
    softening = tried(lambda: MaskSoftening(**loss["soften"]))
    generator_loss = tried(lambda: _generator_loss(loss, adversarial))
    optimizers = {name: tried(partial(optimizer_factory, config, name)) for name in TRAINED}
    stages = tried(lambda: TrainingStages.from_setting(config["gan_epochs"], epochs))
    raise_all(tried.problems)
    mixture = classification_loss.gaussian_mixture if classification_loss else None
    return SegmentationGuidedClassification(
        generator=generator,
        discriminator=discriminator,
        classifier=classifier,
        adversarial_loss=adversarial,
        softening=softening,
        generator_loss=cast(GeneratorLoss, generator_loss),
        classification_loss=classification_loss,
        optimizers=cast(dict[str, OptimizerFactory], optimizers),
        schedules={name: _schedule(config["optimizer"]["schedule"][name]) for name in TRAINED},
        metrics=ValidationMetrics(
            classes,
            segments=config["segment"],
            classifies=config["classify"],
            mixture_distances=mixture.distances if mixture else None,
        ),
        guidance=guidance,
        stages=stages,
        views=views,
    )


def parameter_counts(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    """Count the parameters of each network."""
    return {
        name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()
    }


class _ErrorCollector:
    """Calls one builder after the other and keeps their errors, to be raised together."""

    def __init__(self) -> None:
        self.problems: list[Hep2ganError] = []

    def __call__(self, build: Callable[[], T]) -> T | None:
        try:
            return build()
        except Hep2ganError as error:
            self.problems.append(error)
            return None


def _network(config: Config, name: str, **kwargs: Any) -> nn.Module:
    """Build the class that `config` names, with those `kwargs` that its constructor takes."""
    target, arguments = _target_and_arguments(config[name])
    network = import_class(target)
    try:
        return cast(nn.Module, network(**(arguments | _accepted(network, kwargs))))
    except TypeError as error:
        raise _wrong_arguments(name, target, error, "options") from error


def _target_and_arguments(settings: Config) -> tuple[str, dict[str, Any]]:
    arguments = dict(settings)
    return arguments.pop("_target_"), arguments


def _accepted(network: type, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    # A network of the user's own need not know of pretrained weights or image sizes.
    parameters = inspect.signature(network).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(kwargs)
    return {key: value for key, value in kwargs.items() if key in parameters}


def _wrong_arguments(place: str, target: str, error: Exception, words: str) -> Hep2ganError:
    group = place.partition(".")[0]
    return Hep2ganError(
        f"{place} cannot be built ({error})",
        f"its {words} are the arguments of {target}",
        f"see --cfg job and the files in conf/{group}/; remove {words} left from another choice",
    )


def optimizer_factory(config: Config, name: str) -> OptimizerFactory:
    """Return what builds the optimizer of the network `name` from its parameters.

    Raises:
        Hep2ganError: torch would refuse the settings; an optimizer is built to see.
    """
    target, arguments = _target_and_arguments(config["optimizer"][name])
    if isinstance(arguments.get("betas"), list):
        arguments["betas"] = tuple(arguments["betas"])
    # Any: mypy takes the dictionary's values for positional arguments.
    factory: Any = partial(
        build_optimizer,
        kind=import_class(target),
        **({"fused": config["trainer"]["fused_optimizers"]} | arguments),
    )
    try:
        factory([{"params": [nn.Parameter(torch.zeros(1))]}])
    except (TypeError, ValueError) as error:
        raise _wrong_arguments(f"optimizer.{name}", target, error, "keys") from error
    return cast(OptimizerFactory, factory)


def _schedule(settings: Config | None) -> Any:
    if settings is None:
        return None
    step_lr = torch.optim.lr_scheduler.StepLR
    return partial(step_lr, step_size=settings["step"], gamma=settings["factor"])


def _adversarial_loss(loss: Config) -> AdversarialLoss | None:
    if loss["adversarial"] == "none":
        return None
    return AdversarialLoss(loss["adversarial"], loss["label_smoothing_real"])


def _generator_loss(loss: Config, adversarial: AdversarialLoss | None) -> GeneratorLoss:
    pixel = {"l1": L1Loss, "bce_dice": BceDiceLoss}[loss["pixel"]]
    return GeneratorLoss(loss["alpha"], loss["beta"], adversarial, pixel())


def _classification_loss(
    config: Config, classifier: nn.Module, classes: int, counts: Sequence[int] | None
) -> ClassificationLoss:
    settings = config["loss"]["gaussian_mixture"]
    mixture = None
    if settings["enabled"]:
        mixture = GaussianMixtureLoss(
            num_classes=classes,
            feature_dim=cast(int, classifier.feature_dim),
            covariance=settings["covariance"],
            priors=settings["priors"],
            class_counts=counts if settings["priors"] == "empirical" else None,
            margin=settings["margin"],
            margin_epochs=config["trainer"]["max_epochs"],
        )
    return ClassificationLoss(
        gaussian_mixture=mixture,
        gm_weight=settings["weight"],
        gamma=settings["gamma"],
        label_smoothing=config["loss"]["label_smoothing"],
    )
