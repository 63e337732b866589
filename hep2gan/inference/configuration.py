"""The part of a run's configuration that an export holds: what builds its networks, no more."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hep2gan.config import TrainConfig, parse_config
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import flatten

_KEPT = ("name", "target", "task", "model", "normalisation", "evaluation")
_TRAINING_ALONE: Mapping[str, Any] = {
    "run_dir": "none",
    "pretrained": False,
    "data": {
        "_target_": "hep2gan.data.phantom.generate.PhantomSource",
        "name": "none",
        "store": "none",
    },
}
"""Required of every configuration, and read by no network."""
_PLACE = re.compile(r"(file:|~|[/\\]|[A-Za-z]:[/\\])")
"""How a path of one machine begins."""


def shared_configuration(config: TrainConfig) -> dict[str, Any]:
    """Take from a run's configuration what its networks are built from.

    Args:
        config: The configuration of a run.

    Returns:
        Plain containers: no data, optimizer or logger, no initial weights, no paths.

    Raises:
        Hep2ganError: An argument of a network is a path of this machine.
    """
    plain = config.to_plain()
    kept = {key: plain[key] for key in _KEPT}
    for name in ("generator", "classifier"):
        if name in config.trained_networks:
            # They begin with the weights of the export.
            values = {key: value for key, value in plain[name].items() if key != "weights"}
            kept[name] = values | ({"pretrained": False} if "pretrained" in values else {})
    kept["loss"] = {"gaussian_mixture": plain["loss"]["gaussian_mixture"]}
    for key, value in flatten(kept):
        if isinstance(value, str) and _PLACE.match(value):
            raise Hep2ganError(
                f"{key} is {value!r}",
                "an export goes to other machines, which do not have this path",
                "keep what it holds in a buffer of the network, or write format=onnx",
            )
    return kept


def parse_shared(values: Mapping[str, Any], trusted: Sequence[str] = ()) -> TrainConfig:
    """Parse what `shared_configuration` returned.

    Args:
        values: Plain containers, from anywhere.
        trusted: Packages of the user's own whose classes `_target_` may name.

    Returns:
        A configuration with the same generator, classifier and mixture, and no discriminator.

    Raises:
        Hep2ganError: A key is wrong or none of an export's, or a class is not allowed.
    """
    loss = values.get("loss")
    loss = loss if isinstance(loss, Mapping) else {}
    allowed = {*_KEPT, "generator", "classifier", "loss"}
    others = [key for key in values if key not in allowed]
    others += [f"loss.{key}" for key in loss if key != "gaussian_mixture"]
    if others:
        raise Hep2ganError(
            f"{others[0]} is given",
            "an export holds what builds its networks, and nothing of a training",
            "leave it out",
        )
    return parse_config(
        {**_TRAINING_ALONE, **values, "loss": {**loss, "adversarial": None}}, trusted
    )
