"""Open a trained run again: its config, its networks, its chosen checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hep2gan.assembly import build_task
from hep2gan.checkpoints import read_checkpoint, read_chosen
from hep2gan.errors import Hep2ganError
from hep2gan.run_folder import RunFolder
from hep2gan.task import SegmentationGuidedClassification


@dataclass(frozen=True)
class TrainedRun:
    """A run with its networks loaded, in eval mode, and what it knows of its classes."""

    run: RunFolder
    config: dict[str, Any]
    classes: tuple[str, ...]
    size: int
    store: Path
    task: SegmentationGuidedClassification
    checkpoint: Path


def open_run(
    folder: Path, checkpoint: str | None = None, trusted: Sequence[str] = ()
) -> TrainedRun:
    """Build the networks from the run's own config and load a checkpoint into them.

    checkpoint: a file; None takes best.ckpt where the run chose its epoch, else the newest.
    Raises Hep2ganError when anything is missing, damaged or does not fit.
    """
    run = RunFolder.existing(folder)
    config = run.config()
    if config.get("forest"):
        raise Hep2ganError(
            f"{folder} is a forest on texture features",
            "it has no networks and keeps no trees",
            "use the run of another method; hep2gan-evaluate grows the forest again",
        )
    classes, size, store = described(run)
    if checkpoint:
        path, state = Path(checkpoint), read_checkpoint(Path(checkpoint))
    else:
        path, state = read_chosen(run.checkpoints)
    task = build_task(config, classes=classes, size=size, load_weights=False, trusted=trusted)
    try:
        task.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise Hep2ganError(
            f"{path} does not fit the networks of {run.config_file} ({str(error)[:300]})",
            "a checkpoint belongs to its run's configuration",
            "use a checkpoint of this run",
        ) from error
    return TrainedRun(run, config, classes, size, store, task.eval(), path)


def described(run: RunFolder) -> tuple[tuple[str, ...], int, Path]:
    """Classes, image size and path of the store that a run was trained on."""
    try:
        found = json.loads(run.store_file.read_text(encoding="utf-8"))
        return tuple(map(str, found["classes"])), int(found["size"]), Path(found["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Hep2ganError(
            f"{run.store_file} cannot be read ({error})", "", "train the run again"
        ) from error
