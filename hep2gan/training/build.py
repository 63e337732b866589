"""From a resolved configuration to networks, losses and the task."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from hydra.utils import get_class
from torch import nn

from hep2gan.config import check_targets
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
Part = TypeVar("Part")


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
    tried = _Tried()
    guidance = tried(lambda: MaskGuidance(**config["guidance"]))
    # Runs from before the option have no key for it.
    views = tried(lambda: TestTimeAugmentation(config.get("test_time_views", 1)))
    weights: dict[str, Any] = {} if load_weights else {"pretrained": False, "weights": None}
    generator = discriminator = classifier = classification_loss = None
    if segment:
        generator = tried(lambda: _network(config, "generator", image_size=size, **weights))
        if config["loss"]["adversarial"] != "none":
            discriminator = tried(lambda: _network(config, "discriminator"))
    if classify:
        given = {"num_classes": len(classes), "guided": config["guidance"]["source"] != "none"}
        classifier = tried(lambda: _network(config, "classifier", **given, **weights))
    if classifier is not None:
        classification_loss = tried(
            lambda: _classification_loss(config, classifier, len(classes), train_counts)
        )
    adversarial = tried(lambda: _adversarial_loss(config["loss"]))
    softening = tried(lambda: MaskSoftening(**config["loss"]["soften"]))
    generator_loss = tried(lambda: _generator_loss(config["loss"], adversarial))
    optimizers = {name: tried(partial(optimizer_factory, config, name)) for name in _NETWORKS}
    stages = tried(
        lambda: TrainingStages.from_setting(config["gan_epochs"], config["trainer"]["max_epochs"])
    )
    tried.require()
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
        schedules={name: _schedule(config["optimizer"]["schedule"][name]) for name in _NETWORKS},
        metrics=ValidationMetrics(
            classes,
            segments=segment,
            classifies=classify,
            mixture_distances=mixture.distances if mixture else None,
        ),
        guidance=guidance,
        stages=stages,
        views=views,
    )


class _Tried:
    """Builds part by part; what goes wrong is kept, to be told with what else does."""

    def __init__(self) -> None:
        self.problems: list[Hep2ganError] = []

    def __call__(self, build: Callable[[], Part]) -> Part | None:
        try:
            return build()
        except Hep2ganError as error:
            self.problems.append(error)
            return None

    def require(self) -> None:
        raise_all(self.problems)


_NETWORKS = ("generator", "discriminator", "classifier")


def _network(config: Config, name: str, **given: Any) -> nn.Module:
    """The class that `config` names; of what is `given` it gets what its constructor takes."""
    arguments = {key: value for key, value in config[name].items() if key != "_target_"}
    target = config[name]["_target_"]
    network = get_class(target)
    try:
        return cast(nn.Module, network(**(arguments | _accepted_arguments(network, given))))
    except TypeError as error:
        raise Hep2ganError(
            f"{name} cannot be built ({error})",
            f"its options are the arguments of {target}",
            f"see --cfg job and the files in conf/{name}/; remove options left from another choice",
        ) from error


def _accepted_arguments(network: type, given: Mapping[str, Any]) -> dict[str, Any]:
    # A network of the user's own need not know of pretrained weights or image sizes.
    parameters = inspect.signature(network).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(given)
    return {key: value for key, value in given.items() if key in parameters}


def optimizer_factory(config: Config, name: str) -> OptimizerFactory:
    """The optimizer of a network, given its parameters.

    Raises Hep2ganError where torch would refuse its settings: one is made to see.
    """
    settings = config["optimizer"][name]
    arguments = {key: value for key, value in settings.items() if key != "_target_"}
    if isinstance(arguments.get("betas"), list):
        arguments["betas"] = tuple(arguments["betas"])
    fused = config["trainer"].get("fused_optimizers", "auto")
    kind = get_class(settings["_target_"])
    # Any: mypy takes the dictionary's values for positional arguments.
    make: Any = partial(build_optimizer, kind=kind, **({"fused": fused} | arguments))
    try:
        make([{"params": [nn.Parameter(torch.zeros(1))]}])
    except (TypeError, ValueError) as error:
        raise Hep2ganError(
            f"optimizer.{name} cannot be built ({error})",
            f"its keys are the arguments of {settings['_target_']}",
            "see --cfg job and the files in conf/optimizer/; remove keys left from another choice",
        ) from error
    return cast(OptimizerFactory, make)


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


def _generator_loss(loss: Config, adversarial: AdversarialLoss | None) -> GeneratorLoss:
    pixels = {"l1": L1Loss, "bce_dice": BceDiceLoss}
    if loss["pixel"] not in pixels:
        rule = f"choose from {', '.join(pixels)}"
        raise Hep2ganError(f"loss.pixel is {loss['pixel']!r}", rule, "set loss.pixel=l1")
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
