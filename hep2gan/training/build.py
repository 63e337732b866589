"""Build the task, with its networks, losses and optimizers, from the typed configuration."""

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.optim import Optimizer

from hep2gan.config import NETWORKS, TrainConfig
from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.classification import ClassificationLoss, GaussianMixtureLoss
from hep2gan.losses.segmentation import GeneratorLoss, MaskSoftening
from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.models.cross_fitting import CrossFittedNetwork
from hep2gan.models.output import TestTimeAugmentation
from hep2gan.training.module import OptimizerFactory, SegmentationGuidedClassification

FusedOption = bool | Literal["auto"]
_FORMS = ("fused", "capturable")
"""How an optimizer computes, which is no part of what it computes."""


def build_task(
    config: TrainConfig,
    *,
    classes: Sequence[str],
    size: int,
    train_counts: Sequence[int] | None = None,
    load_weights: Collection[str] = NETWORKS,
) -> SegmentationGuidedClassification:
    """Build the networks, losses and optimizers that `config` describes.

    Args:
        config: The configuration of a run.
        classes: The K pattern names.
        size: Side of the images in pixels.
        train_counts: Cells of each class in the training part, for empirical priors.
        load_weights: Names of the networks that begin with their pretrained weights; none where
            a checkpoint is loaded next.

    Returns:
        The task, on the CPU.

    Raises:
        Hep2ganError: Sizes that do not fit, or unreachable weights.
    """
    model, loss = config.model, config.loss
    given: dict[str, Any] = {
        "image_size": size,
        "num_classes": len(classes),
        "guided": model.guidance.source != "none",
    }
    without: dict[str, Any] = {"pretrained": False, "weights": None}
    networks: dict[str, nn.Module] = {}
    for name in config.trained_networks:
        build = partial(
            config.network(name).build, **given | ({} if name in load_weights else without)
        )
        crossed = model.guidance.source == "cross_fitted" and name != "classifier"
        networks[name] = CrossFittedNetwork(build(), build()) if crossed else build()
    classification = None
    if classifier := networks.get("classifier"):
        classification = _classification_loss(config, classifier, len(classes), train_counts)
    mixture = classification.gaussian_mixture if classification else None
    adversarial: AdversarialLoss | None = loss.adversarial.build() if loss.adversarial else None
    task = config.task.build(
        **{name: networks.get(name) for name in NETWORKS},
        adversarial_loss=adversarial,
        softening=MaskSoftening(loss.soften.sigma, loss.soften.level),
        generator_loss=GeneratorLoss(loss.alpha, loss.beta, adversarial, loss.pixel.build()),
        classification_loss=classification,
        optimizers={name: optimizer_factory(config, name) for name in NETWORKS},
        schedules={
            name: partial(
                torch.optim.lr_scheduler.StepLR, step_size=step.step_size, gamma=step.gamma
            )
            for name in NETWORKS
            if (step := getattr(config.optimizer.schedule, name))
        },
        clip_norms={
            name: norm
            for name in networks
            if (norm := getattr(config.optimizer.gradient_clip_val, name)) is not None
        },
        metrics=ValidationMetrics(
            classes,
            segments=model.segment,
            classifies=model.classify,
            mixture_distances=mixture.distances if mixture else None,
        ),
        guidance=model.guidance,
        stages=config.stages,
        views=TestTimeAugmentation(config.evaluation.tta),
    )
    return cast(SegmentationGuidedClassification, task)


def parameter_counts(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    """Count the parameters of each network.

    Args:
        networks: The networks by name.

    Returns:
        Numbers of parameters by the same names.
    """
    return {
        name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()
    }


def optimizer_factory(config: TrainConfig, name: str) -> OptimizerFactory:
    """Make the function that builds the optimizer of a network from its parameters.

    Args:
        config: The configuration of a run.
        name: The network's name, one of NETWORKS.

    Returns:
        A function of parameter groups.

    Raises:
        Hep2ganError: torch would refuse the settings; one optimizer is built to find out.
    """
    component = config.optimizer.of(name)
    # Any: mypy takes the dictionary's values for positional arguments.
    factory: Any = partial(
        build_optimizer,
        kind=component.load(),
        **{
            "fused": config.trainer.fused_optimizers,
            "recordable": config.trainer.cuda_graph,
        }
        | component.call_arguments(),
    )
    try:
        factory([{"params": [nn.Parameter(torch.zeros(1))]}])
    except (TypeError, ValueError) as error:
        raise Hep2ganError(
            f"optimizer.{name} cannot be built ({error})",
            f"its keys are the arguments of {component.target}",
            "see --cfg job and the files in conf/optimizer/; remove keys left from another choice",
        ) from error
    return cast(OptimizerFactory, factory)


def _classification_loss(
    config: TrainConfig, classifier: nn.Module, classes: int, counts: Sequence[int] | None
) -> ClassificationLoss:
    settings = config.loss.gaussian_mixture
    mixture = None
    if settings.enabled:
        mixture = GaussianMixtureLoss(
            num_classes=classes,
            feature_dim=cast(int, classifier.feature_dim),
            covariance=settings.covariance,
            priors=settings.priors,
            class_counts=counts if settings.priors == "empirical" else None,
            margin=settings.margin,
            margin_epochs=config.trainer.max_epochs,
        )
    return ClassificationLoss(
        gaussian_mixture=mixture,
        gm_weight=settings.weight,
        gamma=settings.gamma,
        label_smoothing=config.loss.label_smoothing,
    )


# ---------------------------------------------------------------------- optimizers


def has_fused_form(kind: type[Optimizer]) -> bool:
    """Tell whether torch has an optimizer as one kernel that updates all parameters at once.

    Args:
        kind: The optimizer's class.

    Returns:
        Whether the class has the argument `fused`.
    """
    return "fused" in inspect.signature(kind).parameters


def build_optimizer(
    groups: Iterable[dict[str, Any]],
    *,
    kind: type[Optimizer],
    fused: FusedOption,
    recordable: bool = False,
    **arguments: Any,
) -> Optimizer:
    """Build an optimizer; it keeps its form whichever form a loaded checkpoint comes from.

    Args:
        groups: Parameter groups, whose parameters are on their device already.
        kind: The optimizer's class.
        fused: True, false, or "auto": fused on GPUs, where torch has such a form.
        recordable: Whether its updates are to be part of a CUDA graph: on a GPU its count of steps
            is then kept there, where torch has such a form (`capturable`).
        arguments: More arguments of the class.

    Returns:
        The optimizer.

    Raises:
        Hep2ganError: `fused` is true, and `kind` has no such form.
    """
    if fused is True and not has_fused_form(kind):
        raise Hep2ganError(
            f"trainer.fused_optimizers is true, and torch has no fused {kind.__name__}",
            "SGD, Adam and AdamW have that form",
            "set trainer.fused_optimizers=auto, or choose another optimizer",
        )
    groups = list(groups)
    on_gpu = all(p.device.type == "cuda" for group in groups for p in group["params"])
    if has_fused_form(kind):
        # Not False: it would also switch torch's own choice between its other forms off.
        arguments["fused"] = (on_gpu if fused == "auto" else fused) or None
    if recordable and on_gpu and "capturable" in inspect.signature(kind).parameters:
        arguments["capturable"] = True
    optimizer = kind(groups, **arguments)
    optimizer.register_load_state_dict_pre_hook(_keep_form)
    return optimizer


def _keep_form(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    form = {key: optimizer.defaults[key] for key in _FORMS if key in optimizer.defaults}
    return state | {"param_groups": [group | form for group in state["param_groups"]]}
