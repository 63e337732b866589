"""Open a trained run again: its config, its networks, its chosen checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import load_best_or_latest, read_checkpoint
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_task
from hep2gan.training.module import SegmentationGuidedClassification

"""Pixels of a side. Stores end at 1024."""
_RESTORE = "restore it or train the run again"


@dataclass(frozen=True)
class LoadedRun:
    """A run with its networks loaded, in eval mode, and what it knows of its classes."""

    run: RunFolder
    config: dict[str, Any]
    classes: tuple[str, ...]
    size: int
    store: Path
    task: SegmentationGuidedClassification
    checkpoint: Path


def load_run(folder: Path, checkpoint: str | None = None, trusted: Sequence[str] = ()) -> LoadedRun:
    """Build the networks from the run's own config and load a checkpoint into them.

    checkpoint: a file; None takes best.ckpt where the run chose its epoch, else the newest.
    Raises Hep2ganError when anything is missing, damaged or does not fit.
    """
    run = RunFolder.open(folder)
    config = run.config()
    if config.get("forest"):
        raise Hep2ganError(
            f"{folder} is a forest on texture features",
            "it has no networks and keeps no trees",
            "use the run of another method; hep2gan-evaluate grows the forest again",
        )
    classes, size, store = run.store_info()
    if checkpoint:
        path, state = Path(checkpoint), read_checkpoint(Path(checkpoint))
    else:
        path, state = load_best_or_latest(run.checkpoints)
    build = partial(_built, run, config, classes, size, trusted)
    # First without memory: a few digits of a configuration can ask for terabytes.
    with torch.device("meta"):
        _check_fits(path, state["state_dict"], build().state_dict(), run)
    task = build()
    task.load_state_dict(state["state_dict"])
    return LoadedRun(run, config, classes, size, store, task.eval(), path)


def _built(
    run: RunFolder,
    config: dict[str, Any],
    classes: Sequence[str],
    size: int,
    trusted: Sequence[str],
) -> SegmentationGuidedClassification:
    try:
        return build_task(config, classes=classes, size=size, load_weights=False, trusted=trusted)
    except Hep2ganError as error:
        fix = error.fix or _RESTORE
        raise Hep2ganError(f"{run.config_file}: {error.fact}", error.rule, fix) from error
    # Whatever is missing or of a wrong type trips the networks somewhere.
    except Exception as error:
        raise Hep2ganError(
            f"{run.config_file} describes no networks ({type(error).__name__}: {error})",
            "a run's configuration is left as it was written",
            _RESTORE,
        ) from error


def _check_fits(
    path: Path, saved: Mapping[str, Tensor], due: Mapping[str, Tensor], run: RunFolder
) -> None:
    odd = [f"{name} is missing" for name in due.keys() - saved.keys()]
    odd += [f"{name} is unknown" for name in saved.keys() - due.keys()]
    odd += [
        f"{name} has shape {tuple(saved[name].shape)} instead of {tuple(due[name].shape)}"
        for name in due.keys() & saved.keys()
        if saved[name].shape != due[name].shape
    ]
    if odd:
        raise Hep2ganError(
            f"{path} does not fit the networks of {run.config_file}"
            f" ({len(odd)} differences, the first is: {min(odd)})",
            "a checkpoint belongs to its run's configuration",
            "use a checkpoint of this run",
        )
