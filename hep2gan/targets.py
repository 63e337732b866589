"""Which classes a configuration may name: a `_target_` can run any code, so they are listed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hep2gan.errors import Hep2ganError

NETWORKS = frozenset(
    {
        "hep2gan.models.generator.DeepLabV3PlusGenerator",
        "hep2gan.models.discriminator.PatchGAN",
        "hep2gan.models.classifier.TimmClassifier",
        "hep2gan.models.attention_pooling.AttentionPoolingClassifier",
        "hep2gan.models.gao.GaoNet",
    }
)
OPTIMIZERS = frozenset(
    f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop")
)


def check_targets(config: Any, trusted: Sequence[str] = ()) -> None:
    """Raise Hep2ganError at the first `_target_` that is neither listed nor of a trusted package.

    trusted: packages of the user's own, e.g. ["mylab.networks"], from the command line only.
    """
    for error in wrong_targets(config, trusted):
        raise error


def wrong_targets(
    config: Any, trusted: Sequence[str] = (), where: str = ""
) -> Iterator[Hep2ganError]:
    """An error for each `_target_` that `check_targets` refuses, and Hydra's other such keys."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            place = f"{where}.{key}" if where else str(key)
            special = str(key).startswith("_") and str(key).endswith("_")
            if special and not _allowed(str(key), value, trusted):
                yield _refused(place, value)
            yield from wrong_targets(value, trusted, place)
    elif isinstance(config, list | tuple):
        for position, value in enumerate(config):
            yield from wrong_targets(value, trusted, f"{where}[{position}]")


def _allowed(key: str, value: Any, trusted: Sequence[str]) -> bool:
    if key != "_target_" or not isinstance(value, str):
        return False
    ours = value in NETWORKS or value in OPTIMIZERS
    return ours or any(value.startswith(prefix.rstrip(".") + ".") for prefix in trusted)


def _refused(place: str, value: Any) -> Hep2ganError:
    return Hep2ganError(
        f"{place} is {value!r}",
        "a configuration may only name this project's networks and torch's optimizers",
        "check where the configuration comes from; for a class of your own add trusted=[PACKAGE]",
    )
