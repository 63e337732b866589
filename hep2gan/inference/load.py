"""Load a trained run: its config, its networks, its checkpoint."""

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

_RESTORE = "restore it or train the run again"


@dataclass(frozen=True)
class LoadedRun:
    """A run with its networks loaded, in eval mode, and what it remembers of its store."""

    run: RunFolder
    config: dict[str, Any]
    classes: tuple[str, ...]
    size: int
    store: Path
    task: SegmentationGuidedClassification
    checkpoint: Path


def load_run(folder: Path, checkpoint: str | None = None, trusted: Sequence[str] = ()) -> LoadedRun:
    """Build the networks from the run's own config and load a checkpoint into them.

    Args:
        folder: the run's folder.
        checkpoint: a file; None takes best.ckpt where the run chose its epoch, else the newest.
        trusted: packages whose classes the config may name beside the allowed ones.

    Raises:
        Hep2ganError: anything is missing, damaged or does not fit.
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
    build = partial(_build, run, config, classes, size, trusted)
    # First without memory: a few digits in a configuration can ask for terabytes.
    with torch.device("meta"):
        _check_weights_fit(path, state["state_dict"], build().state_dict(), run)
    task = build()
    task.load_state_dict(state["state_dict"])
    return LoadedRun(run, config, classes, size, store, task.eval(), path)


def _build(
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


def _check_weights_fit(
    path: Path, saved: Mapping[str, Tensor], expected: Mapping[str, Tensor], run: RunFolder
) -> None:
    differences = [f"{name} is missing" for name in expected.keys() - saved.keys()]
    differences += [f"{name} is unknown" for name in saved.keys() - expected.keys()]
    differences += [
        f"{name} has shape {tuple(saved[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & saved.keys()
        if saved[name].shape != expected[name].shape
    ]
    if differences:
        raise Hep2ganError(
            f"{path} does not fit the networks of {run.config_file}"
            f" ({len(differences)} differences, the first is: {min(differences)})",
            "a checkpoint belongs to its run's configuration",
            "use a checkpoint of this run",
        )
