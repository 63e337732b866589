"""From a resolved configuration to networks, losses and the task."""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast, get_args

import torch
from hydra.utils import get_class
from torch import nn

from hep2gan.details import ValidationDetails
from hep2gan.errors import Hep2ganError
from hep2gan.guidance import Guidance, Stages
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.classification import ClassificationLoss
from hep2gan.losses.gaussian_mixture import GaussianMixtureLoss
from hep2gan.losses.segmentation import BceDiceLoss, GeneratorLoss, L1Loss
from hep2gan.losses.softening import MaskSoftening
from hep2gan.metrics.classification import ClassificationMetrics
from hep2gan.metrics.overlap import SegmentationMetrics
from hep2gan.nonfinite import Policy, SkipNonfinite
from hep2gan.optimizers import Fused, build_optimizer
from hep2gan.targets import check_targets
from hep2gan.task import SegmentationGuidedClassification
from hep2gan.views import Views

Config = Mapping[str, Any]


def build_task(
    config: Config,
    *,
    classes: Sequence[str],
    size: int,
    train_counts: Sequence[int] | None = None,
    load_weights: bool = True,
    trusted: Sequence[str] = (),
) -> SegmentationGuidedClassification:
    """Build what `config` describes for K `classes` and images of `size` px.

    load_weights=False leaves ImageNet weights aside, for networks whose checkpoint is loaded next.
    Raises Hep2ganError for unknown options, sizes that do not fit and unreachable weights.
    """
    check_targets(config, trusted)
    segment, classify = config["segment"], config["classify"]
    guidance = Guidance(**config["guidance"])
    # Runs from before these options have no key for them.
    views = Views(config.get("test_time_views", 1))
    fused = config["trainer"].get("fused_optimizers", "auto")
    weights: dict[str, Any] = {} if load_weights else {"pretrained": False, "weights": None}
    generator = discriminator = classifier = classification_loss = None
    if segment:
        generator = _network(config, "generator", image_size=size, **weights)
        if config["loss"]["adversarial"] != "none":
            discriminator = _network(config, "discriminator")
    if classify:
        guided = guidance.source != "none"
        classifier = _network(
            config, "classifier", num_classes=len(classes), guided=guided, **weights
        )
        classification_loss = _classification_loss(config, classifier, len(classes), train_counts)
    return SegmentationGuidedClassification(
        generator=generator,
        discriminator=discriminator,
        classifier=classifier,
        adversarial_loss=_adversarial_loss(config["loss"]),
        softening=MaskSoftening(**config["loss"]["soften"]),
        generator_loss=_generator_loss(config["loss"]),
        classification_loss=classification_loss,
        optimizers={name: _optimizer(config["optimizer"][name], fused) for name in _NETWORKS},
        schedules={name: _schedule(config["optimizer"]["schedule"][name]) for name in _NETWORKS},
        segmentation_metrics=SegmentationMetrics(),
        classification_metrics=ClassificationMetrics(len(classes)),
        details=ValidationDetails(
            classes,
            segments=segment,
            classifies=classify,
            mixture=classification_loss.gaussian_mixture if classification_loss else None,
        ),
        guidance=guidance,
        stages=Stages.of(config["gan_epochs"], config["trainer"]["max_epochs"]),
        views=views,
        log_every=config["trainer"]["log_every"],
        skipping=_skipping(config["trainer"].get("nonfinite", "stop")),
    )


def _skipping(policy: str) -> SkipNonfinite | None:
    if policy not in get_args(Policy):
        options = ", ".join(get_args(Policy))
        raise Hep2ganError(f"trainer.nonfinite is {policy!r}", f"choose from {options}")
    return SkipNonfinite() if policy == "skip" else None


_NETWORKS = ("generator", "discriminator", "classifier")


def _network(config: Config, name: str, **given: Any) -> nn.Module:
    """The class that `config` names; of what is `given` it gets what its constructor takes."""
    arguments = {key: value for key, value in config[name].items() if key != "_target_"}
    target = config[name]["_target_"]
    network = get_class(target)
    try:
        return cast(nn.Module, network(**(arguments | _wanted(network, given))))
    except TypeError as error:
        raise Hep2ganError(
            f"{name} cannot be built ({error})",
            f"its options are the arguments of {target}",
            f"see --cfg job and the files in conf/{name}/; remove options left from another choice",
        ) from error


def _wanted(network: type, given: Mapping[str, Any]) -> dict[str, Any]:
    # A network of the user's own need not know of pretrained weights or image sizes.
    parameters = inspect.signature(network).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(given)
    return {key: value for key, value in given.items() if key in parameters}


def _optimizer(settings: Config, fused: Fused) -> Any:
    arguments = {key: value for key, value in settings.items() if key != "_target_"}
    if "betas" in arguments:
        arguments["betas"] = tuple(arguments["betas"])
    kind = get_class(settings["_target_"])
    return partial(build_optimizer, kind=kind, **({"fused": fused} | arguments))


def _schedule(settings: Config | None) -> Any:
    if settings is None:
        return None
    return partial(
        torch.optim.lr_scheduler.StepLR, step_size=settings["step"], gamma=settings["factor"]
    )


def _adversarial_loss(loss: Config) -> AdversarialLoss | None:
    if loss["adversarial"] == "none":
        return None
    return AdversarialLoss(loss["adversarial"], loss["label_smoothing_real"])


def _generator_loss(loss: Config) -> GeneratorLoss:
    pixels = {"l1": L1Loss, "bce_dice": BceDiceLoss}
    if loss["pixel"] not in pixels:
        raise Hep2ganError(f"loss.pixel is {loss['pixel']!r}", f"choose from {', '.join(pixels)}")
    adversarial = _adversarial_loss(loss)
    return GeneratorLoss(loss["alpha"], loss["beta"], adversarial, pixels[loss["pixel"]]())


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
