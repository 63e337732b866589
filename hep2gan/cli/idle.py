"""Keys that a command line sets and that change nothing under the chosen method."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_SEGMENTING = (
    *("generator", "discriminator", "optimizer.generator", "optimizer.discriminator"),
    *("optimizer.schedule.generator", "optimizer.schedule.discriminator", "loss.adversarial"),
    *("loss.pixel", "loss.soften", "loss.alpha", "loss.beta"),
)
_JUDGING = (
    *("discriminator", "optimizer.discriminator", "optimizer.schedule.discriminator"),
    *("loss.soften", "loss.alpha"),
)
_CLASSIFYING = (
    *("classifier", "optimizer.classifier", "optimizer.schedule.classifier", "model.guidance"),
    *("loss.gaussian_mixture", "loss.label_smoothing"),
)
_NETWORKS = (
    *("generator", "discriminator", "classifier", "optimizer", "loss", "training", "pretrained"),
    *("normalisation", "augmentation", "evaluation", "callbacks", "trainer", "model.guidance"),
    "init_from",
)
_MIXTURE = tuple(
    f"loss.gaussian_mixture.{key}" for key in ("weight", "gamma", "margin", "priors", "covariance")
)

_OF_LOGGERS = {
    ("wandb",): ("entity", "mode", "table_cells", "registry"),
    ("mlflow",): ("tracking_uri",),
    ("wandb", "mlflow"): ("project", "tags", "weights", "weights_mib"),
    ("wandb", "mlflow", "tensorboard"): ("pictures_every",),
}
"""Keys that only some loggers read."""


def _idle(values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each reason why keys have no effect, with those keys or their groups."""
    model, loss, split, logger = (values[key] for key in ("model", "loss", "split", "logger"))
    validates = split["validation_fraction"] or split["kind"] == "given"
    if model["baseline"]:
        yield "a forest has no networks", _NETWORKS
    if not model["segment"]:
        yield "no generator is trained", _SEGMENTING
    elif not loss["adversarial"]:
        yield "there is no discriminator", _JUDGING
    if not model["classify"]:
        yield "no classifier is trained", _CLASSIFYING
    elif not loss["gaussian_mixture"]["enabled"]:
        yield "the Gaussian-mixture loss is off", _MIXTURE
    if model["guidance"]["source"] not in ("generated", "cross_fitted", "other"):
        yield "the classifier sees no generated mask", ("model.guidance.hard",)
    if model["guidance"]["source"] not in ("ellipse", "other"):
        yield "the classifier sees no ellipse", ("model.guidance.margin",)
    if not validates:
        yield "there is no validation part", ("trainer.check_val_every_n_epoch", "optimized_metric")
    if split["kind"] != "block":
        yield "the split has no blocks", ("split.blocks_per_class",)
    if split["folds"]:
        yield "folds have a fixed size", ("split.test_fraction",)
    for loggers, keys in _OF_LOGGERS.items():
        if not any(logger.get(name) for name in loggers):
            off = f"{' and '.join(loggers)} {'are' if len(loggers) > 1 else 'is'} off"
            yield off, tuple(f"logger.{key}" for key in keys)


def keys_without_effect(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, str]:
    """Find the keys of a command line that have no effect.

    Args:
        values: The composed configuration of a training.
        overrides: What the command line sets, as KEY=VALUE.

    Returns:
        The reason by key.
    """
    reasons = list(_idle(values))
    given = dict.fromkeys(word.lstrip("+~").partition("=")[0] for word in overrides)
    found: dict[str, str] = {}
    for key in given:
        dotted = key.replace("/", ".") + "."
        for reason, idle in reasons:
            if any(dotted.startswith(f"{group}.") for group in idle):
                found.setdefault(key, reason)
    return found
