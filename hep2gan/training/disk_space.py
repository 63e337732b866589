"""What doctor=true says of the disk: room for the checkpoints and predictions of a run."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from hep2gan.config import OptimizerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Component
from hep2gan.training.preflight_report import Finding
from hep2gan.training.setup import RunSetup

GB = 1e9
_OTHER_FILES = 20_000_000
"""Bytes of figures, tables and logs."""


def check_disk_space(setup: RunSetup) -> Iterator[Finding]:
    """Check that there is room for checkpoints and predictions.

    Args:
        setup: The run, with its networks built.

    Yields:
        What the run needs and what is free.

    Raises:
        Hep2ganError: There is not enough room.
    """
    features = int(getattr(setup.task.classifier, "feature_dim", 0) or 0)
    store, split = setup.store, setup.split
    # Most that predictions.npz can take: three pictures, two rows of probabilities, features.
    bytes_per_cell = 3 * store.size**2 + 4 * (2 * len(store.classes) + features) + 100
    yield require_disk_space(
        setup.run.path,
        checkpoint_bytes(setup.task.optimized_modules, setup.config.optimizer),
        keeps_best=len(split.validation) > 0,
        predictions=len(split.test) * bytes_per_cell,
    )


def checkpoint_bytes(parts: Mapping[str, nn.Module], optimizers: OptimizerSettings) -> int:
    """Estimate the size of a checkpoint: parameters, buffers and the state of the optimizers.

    Args:
        parts: Networks by name, with the parameters of their losses.
        optimizers: Their settings by the same names.

    Returns:
        Bytes.
    """
    return sum(
        _bytes(part.parameters()) * (1 + state_copies(optimizers.of(name))) + _bytes(part.buffers())
        for name, part in parts.items()
    )


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def state_copies(optimizer: Component) -> int:
    """Count the numbers that an optimizer keeps of each parameter.

    Args:
        optimizer: Its class and arguments.

    Returns:
        0 to 3; 2 for an unknown optimizer.
    """
    name, settings = optimizer.target.rpartition(".")[2], optimizer.arguments
    momentum = int(bool(settings.get("momentum")))
    if name == "SGD":
        return momentum
    if name == "RMSprop":
        return 1 + momentum + int(bool(settings.get("centered")))
    return 2 + int(bool(settings.get("amsgrad")))


def require_disk_space(folder: Path, checkpoint: int, *, keeps_best: bool, predictions: int) -> str:
    """Check the room for a run, and describe what it takes and what is free.

    Two checkpoints are kept and a third is written before the oldest is deleted; where an epoch is
    chosen, the same holds for the best. What an earlier start left counts as room.

    Args:
        folder: The run's folder.
        checkpoint: Bytes of one checkpoint.
        keeps_best: Whether a validation part chooses an epoch.
        predictions: Bytes of predictions.npz.

    Returns:
        The description, for the report of the preflight checks.

    Raises:
        Hep2ganError: There is not enough room.
    """
    count = 5 if keeps_best else 3
    present = sum(file.stat().st_size for file in (folder / "checkpoints").glob("*.ckpt"))
    needed = max(0, count * checkpoint - present) + predictions + _OTHER_FILES
    free = shutil.disk_usage(existing_parent(folder)).free
    sizes = (
        f"{count} checkpoints of {checkpoint / GB:.2f} GB, predictions {predictions / GB:.2f} GB"
    )
    if free < needed:
        raise Hep2ganError(
            f"{existing_parent(folder)} has {free / GB:.2f} GB free",
            f"the run takes up to {needed / GB:.2f} GB more ({sizes})",
            "free space, or choose another place with runs=FOLDER",
        )
    return f"up to {needed / GB:.2f} GB ({sizes}), {free / GB:.1f} GB free"


def existing_parent(folder: Path) -> Path:
    """Find the nearest folder that exists.

    Args:
        folder: Any path.

    Returns:
        The folder itself or one above it.
    """
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
