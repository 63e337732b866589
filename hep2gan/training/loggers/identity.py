"""What a run is called on a dashboard, and whether it is whole there."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hep2gan.config import TrainConfig
from hep2gan.io import read_json, write_json

MAX_NAME = 128
_TRIAL = re.compile(r",?trial-\w+")
_TENSORBOARD = "tensorboard/events.*"


def run_name(config: TrainConfig, swept: Mapping[str, Any] | None = None) -> str:
    """Name a run so that it can be told from the others of its study.

    Args:
        config: Its configuration.
        swept: Keys that a sweep of the dashboard's own has chosen, with their values.

    Returns:
        Method, what a sweep has varied and seed, in at most 128 characters.

    >>> shorten_keys(["loss.alpha", "optimizer.generator.lr", "optimizer.classifier.lr"])
    ['alpha', 'generator.lr', 'classifier.lr']
    """
    method, *varied = _TRIAL.sub("", config.name).split(",")
    pairs = [word.partition("=")[::2] for word in varied if "=" in word]
    words = [word for word in varied if "=" not in word]
    pairs += [(key, value) for key, value in (swept or {}).items()]
    names = shorten_keys([key for key, _ in pairs])
    words += [f"{name}={_shorten(value)}" for name, (_, value) in zip(names, pairs, strict=True)]
    end = f"-seed{config.seed}"
    return ",".join([method or config.study, *words])[: MAX_NAME - len(end)] + end


def shorten_keys(keys: Iterable[str]) -> list[str]:
    """Cut the beginnings of dotted keys as far as they stay different.

    Args:
        keys: Dotted keys.

    Returns:
        The shortest endings, in their order.
    """
    whole = [key.split(".") for key in keys]
    return [
        next(
            ".".join(parts[-length:])
            for length in range(1, len(parts) + 1)
            if length == len(parts)
            or sum(other[-length:] == parts[-length:] for other in whole) == 1
        )
        for parts in whole
    ]


def _shorten(value: Any) -> str:
    """A number of many digits to three of them; anything else as it is."""
    with suppress(ValueError, TypeError):
        if not isinstance(value, bool) and len(str(value)) > 6:
            return f"{float(value):.3g}"
    return str(value)


def method_of(config: TrainConfig) -> str:
    """Name the method of a run, without what a sweep has varied.

    Args:
        config: Its configuration.

    Returns:
        The method.
    """
    return config.name.partition(",")[0]


def describe_run(config: TrainConfig, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Collect what stands beside a run's weights.

    Args:
        config: Its configuration.
        provenance: Its provenance.

    Returns:
        Study, method, seed, data and fingerprint.
    """
    data = (provenance or {}).get("data") or {}
    return {
        "study": config.study,
        "method": method_of(config),
        "name": config.name,
        "seed": config.seed,
        "data": data.get("name"),
        "fingerprint": data.get("fingerprint"),
        "revision": (provenance or {}).get("revision"),
    }


def identity_file(folder: Path, logger: str) -> Path:
    """The file that keeps a run's id at a dashboard.

    Args:
        folder: The run's folder.
        logger: wandb or mlflow.

    Returns:
        Its path.
    """
    return folder / logger / "id.json"


def read_identity(folder: Path, logger: str) -> dict[str, Any]:
    """Read what is known of a run at a dashboard.

    Args:
        folder: The run's folder.
        logger: wandb or mlflow.

    Returns:
        Its id and more; empty where the file is missing or damaged.
    """
    with suppress(OSError, ValueError):
        return read_json(identity_file(folder, logger))
    return {}


def write_identity(folder: Path, logger: str, values: Mapping[str, Any]) -> None:
    """Write what is known of a run at a dashboard.

    Args:
        folder: The run's folder.
        logger: wandb or mlflow.
        values: Its id and more.
    """
    identity_file(folder, logger).parent.mkdir(parents=True, exist_ok=True)
    write_json(identity_file(folder, logger), dict(values), indent=None)


def holds_run(folder: Path, logger: str) -> bool:
    """Tell whether a dashboard has a finished run to its end.

    Args:
        folder: The run's folder.
        logger: tensorboard, mlflow or wandb.

    Returns:
        Whether the logger has finished it without an error.
    """
    if logger == "tensorboard":
        return any(folder.glob(_TENSORBOARD))
    return read_identity(folder, logger).get("finished") is True
