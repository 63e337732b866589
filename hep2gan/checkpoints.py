"""Checkpoints on disk: which there are, which one counts, and reading them without running code."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch

from hep2gan.errors import Hep2ganError

BEST = "best.ckpt"
_NAME = re.compile(r"epoch(\d+)\.ckpt")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of tensors and plain containers; never runs code from it.

    Raises Hep2ganError when the file is missing, damaged or holds anything else.
    """
    fix = "use another checkpoint of the run's checkpoints folder, or train again"
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", fix)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Hep2ganError(f"{path} cannot be loaded ({reason})", "", fix) from error
    if not isinstance(found, dict) or "state_dict" not in found:
        raise Hep2ganError(f"{path} is no checkpoint of a run", "it needs a state_dict", fix)
    return found


def epoch_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of finished epochs, the newest first."""
    numbered = [(int(m.group(1)), p) for p in folder.glob("*.ckpt") if (m := _NAME.match(p.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def epoch_of(path: Path) -> int:
    """The epoch, counted from 0, after which epochNNNN.ckpt was saved."""
    match = _NAME.match(path.name)
    assert match is not None
    return int(match.group(1))


def newest_readable(folder: Path) -> Path | None:
    """The newest checkpoint that loads; a damaged one is reported and the older one taken."""
    found = _newest(folder)
    return found[0] if found else None


def read_chosen(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that a run is tested with, and what it holds.

    best.ckpt where a validation part chose the epoch, else the newest epoch's that loads. Raises
    Hep2ganError when there is none.
    """
    best = folder / BEST
    if best.is_file():
        return best, read_checkpoint(best)
    found = _newest(folder)
    if found is None:
        raise Hep2ganError(f"{folder} holds no checkpoint", "", "train the run with hep2gan-train")
    return found


def _newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    for path in epoch_checkpoints(folder):
        try:
            return path, read_checkpoint(path)
        except Hep2ganError as error:
            warnings.warn(f"{error} Falling back to the one before.", stacklevel=3)
    return None
