"""How much room a run takes: checkpoints, from parameters and optimizer states; predictions."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hep2gan.errors import Hep2ganError

GB = 1e9
_REST = 20_000_000
"""Figures, tables and logs."""


def checkpoint_bytes(parts: Mapping[str, nn.Module], optimizers: Mapping[str, Any]) -> int:
    """Size of one checkpoint: parameters, buffers and what the optimizers keep of each parameter.

    parts: networks by name, with the parameters of their losses. optimizers: their settings.
    """
    total = 0
    for name, part in parts.items():
        parameters, buffers = _bytes(part.parameters()), _bytes(part.buffers())
        total += parameters * (1 + state_copies(optimizers[name])) + buffers
    return total


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def state_copies(settings: Mapping[str, Any]) -> int:
    """Numbers that an optimizer keeps of each parameter; 2 for one that is not known."""
    name = str(settings["_target_"]).rpartition(".")[2]
    momentum = int(bool(settings.get("momentum")))
    if name == "SGD":
        return momentum
    if name == "RMSprop":
        return 1 + momentum + int(bool(settings.get("centered")))
    return 2 + int(bool(settings.get("amsgrad")))


def prediction_bytes(cells: int, size: int, classes: int, features: int) -> int:
    """Most that predictions.npz can take: three pictures, two rows of probabilities, features."""
    return cells * (3 * size**2 + 4 * (2 * classes + features) + 100)


def require_room(folder: Path, checkpoint: int, *, chooses: bool, predictions: int) -> str:
    """Say what the run takes and what is free; raises Hep2ganError where that is not enough.

    Two checkpoints are kept and a third is written before the oldest goes; where an epoch is
    chosen, the same for the best. What an earlier start left counts as room.
    """
    count = 5 if chooses else 3
    there = sum(file.stat().st_size for file in (folder / "checkpoints").glob("*.ckpt"))
    needed = max(0, count * checkpoint - there) + predictions + _REST
    free = shutil.disk_usage(existing(folder)).free
    told = f"{count} checkpoints of {checkpoint / GB:.2f} GB, predictions {predictions / GB:.2f} GB"
    if free < needed:
        raise Hep2ganError(
            f"{existing(folder)} has {free / GB:.2f} GB free",
            f"the run takes up to {needed / GB:.2f} GB more ({told})",
            "free space, or choose another place with runs=FOLDER",
        )
    return f"up to {needed / GB:.2f} GB ({told}), {free / GB:.1f} GB free"


def existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
