"""What lies around a run before it starts: devices, logger, weights, its folder."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hep2gan.errors import Hep2ganError
from hep2gan.models.classifier import require_backbone_weights
from hep2gan.models.generator import require_encoder_weights
from hep2gan.runs.checkpoints import Position
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import owner_of, refused
from hep2gan.training.checklist import Finding
from hep2gan.training.devices import require_devices
from hep2gan.training.disk_space import existing
from hep2gan.training.loggers import require_logger
from hep2gan.training.loggers.csv import require_epochs

Config = Mapping[str, Any]

_WEIGHTS: dict[str, tuple[str, Callable[[str, bool, str | None], None]]] = {
    "hep2gan.models.generator.DeepLabV3PlusGenerator": ("encoder", require_encoder_weights),
    "hep2gan.models.classifier.TimmClassifier": ("backbone", require_backbone_weights),
    "hep2gan.models.attention_pooling.AttentionPoolingClassifier": (
        "backbone",
        require_backbone_weights,
    ),
}
"""Networks of ours that take weights: the setting that names the model, and who knows of them."""


def of_devices(config: Config) -> Iterator[Finding]:
    """As many devices as are asked for."""
    settings = config["trainer"]
    yield require_devices(settings["accelerator"], settings["devices"])


def of_logger(config: Config) -> Iterator[Finding]:
    """Where curves go."""
    yield require_logger(config["logger"])


def of_folder(
    run: RunFolder, config: Config, newest: Path | None, *, starts: bool
) -> Iterator[Finding]:
    """A folder that can be written, is free and holds this run or none.

    newest: the checkpoint to go on from. starts: the caller holds the folder itself.
    """
    if (error := _unwritable(run)) is not None:
        yield error
    if not starts and (owner := owner_of(run.path)) is not None:
        yield refused(run.path, owner)
    run.check_config(config)
    if not run.done:
        require_epochs(run.curves_file, Position.of(newest).epochs)
    state = "finished" if run.done else f"from {newest.name}" if newest else "new"
    yield f"{run.path}: {state}"


def _unwritable(run: RunFolder) -> Hep2ganError | None:
    place = existing(run.path)
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return Hep2ganError(
            f"{place} cannot be written ({error.strerror})",
            "a run keeps everything in its folder",
            "choose another place with runs=FOLDER",
        )


def of_weights(config: Config) -> Iterator[Finding]:
    """Weights that a new run's networks begin with; nothing is downloaded."""
    for name, key in {"generator": "segment", "classifier": "classify"}.items():
        settings = config[name]
        if not config[key] or str(settings["_target_"]) not in _WEIGHTS:
            continue
        model, require = _WEIGHTS[settings["_target_"]]
        try:
            require(settings[model], settings["pretrained"], settings["weights"])
        except Hep2ganError as error:
            yield error
            continue
        source = "ImageNet" if settings["pretrained"] else "from scratch"
        yield f"{name} {settings[model]}: {settings['weights'] or source}"
