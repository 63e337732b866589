"""Which classes a configuration may name: a `_target_` can run any code, so they are listed."""

from collections.abc import Mapping, Sequence
from typing import Any

from hep2gan.errors import Hep2ganError

NETWORKS = frozenset(
    {
        "hep2gan.networks.generator.DeepLabV3PlusGenerator",
        "hep2gan.networks.discriminator.PatchGAN",
        "hep2gan.networks.classifier.TimmClassifier",
        "hep2gan.networks.attention_pooling.AttentionPoolingClassifier",
        "hep2gan.networks.gao.GaoNet",
    }
)
OPTIMIZERS = frozenset(
    f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop")
)


def check_targets(config: Any, trusted: Sequence[str] = (), where: str = "") -> None:
    """Raise Hep2ganError at the first `_target_` that is neither listed nor of a trusted package.

    trusted: packages of the user's own, e.g. ["mylab.networks"], from the command line only.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if str(key).startswith("_") and str(key).endswith("_"):
                _check(str(key), value, trusted, where)
            check_targets(value, trusted, f"{where}.{key}" if where else str(key))
    elif isinstance(config, list | tuple):
        for position, value in enumerate(config):
            check_targets(value, trusted, f"{where}[{position}]")


def _check(key: str, value: Any, trusted: Sequence[str], where: str) -> None:
    allowed = key == "_target_" and isinstance(value, str)
    if allowed and (value in NETWORKS or value in OPTIMIZERS):
        return
    if allowed and any(value.startswith(prefix.rstrip(".") + ".") for prefix in trusted):
        return
    raise Hep2ganError(
        f"{where}.{key} is {value!r}",
        "a configuration may only name this project's networks and torch's optimizers",
        "check where the configuration comes from; for a class of your own add trusted=[PACKAGE]",
    )
