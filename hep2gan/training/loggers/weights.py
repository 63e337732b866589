"""The weights of a finished run as folders for a dashboard, from which images can be predicted."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from hep2gan.config import LoggerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import (
    BEST,
    Checkpoint,
    TrainingPosition,
    list_checkpoints,
    read_checkpoint,
)
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.trust import Trust

log = logging.getLogger(__name__)

MIB = 2**20
_FOLDER = "weights.tmp"
_RECORDS = ("config.yaml", "store.json", "split.json", "provenance.json")


class LoggedWeights(NamedTuple):
    """Weights of one epoch, in a folder that hep2gan-predict takes.

    Attributes:
        folder: The folder; it is gone when the logger returns.
        aliases: "best" for the chosen epoch, "last" for the last; both where they are the same.
        epoch: The epoch, from 0.
        metadata: What a dashboard shows beside it.
    """

    folder: Path
    aliases: tuple[str, ...]
    epoch: int
    metadata: dict[str, Any]


class WeightsTaker(Protocol):
    """A logger that takes weights."""

    def log_weights(self, weights: LoggedWeights) -> None:
        """Take weights."""


def log_weights(
    settings: LoggerSettings,
    run: RunFolder,
    loggers: Sequence[WeightsTaker],
    metadata: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> None:
    """Give the weights of a tested run to its loggers; a forest has none.

    Args:
        settings: Which weights, and how large at most.
        run: The run's folder.
        loggers: The loggers.
        metadata: What is known of the run: study, method, seed, data.
        metrics: The flat metrics of the test, which are those of the chosen epoch.
    """
    if not loggers or settings.weights is False:
        return
    try:
        with _temporary(run.path / _FOLDER) as folder:
            for path, content, aliases in _checkpoints(run, settings.weights):
                if not _fits(path, content, settings.weights_mib):
                    continue
                epoch = int(content.get("epoch", 0))
                place = _write(run, content, folder / aliases[0], epoch)
                if "best" in aliases:
                    _add_results(run, place, epoch)
                scores = metrics if "best" in aliases else {}
                shown = {**metadata, "epoch": epoch, "metrics": dict(scores)}
                for logger in loggers:
                    logger.log_weights(LoggedWeights(place, aliases, epoch, shown))
    except (OSError, Hep2ganError) as error:
        log.warning("The weights were not logged (%s). They are in %s.", error, run.checkpoints)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    # Always the same place, so that one that a killed process left is replaced.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(
    run: RunFolder, which: bool | str
) -> Iterator[tuple[Path, Checkpoint, tuple[str, ...]]]:
    """The files that are asked for, their content and aliases; the last epoch comes first."""
    last = next(iter(list_checkpoints(run.checkpoints)), None)
    best = run.checkpoints / BEST
    chosen = (best, read_checkpoint(best)) if best.is_file() else None
    last_epoch = TrainingPosition.of(last).epochs - 1
    one = chosen is None or chosen[1].get("epoch") == last_epoch
    if last and one:
        yield last, read_checkpoint(last), ("best", "last") if which is True else (str(which),)
    elif last and which != "best":
        yield last, read_checkpoint(last), ("last",)
    if chosen and not one and which != "last":
        yield *chosen, ("best",)


def _fits(path: Path, content: Checkpoint, limit: int) -> bool:
    size = sum(tensor.nbytes for tensor in content["state_dict"].values()) / MIB
    if size > limit:
        log.warning(
            "The weights of %s (%.0f MiB) are not logged: logger.weights_mib is %d.",
            *(path.name, size, limit),
        )
    return size <= limit


def _write(run: RunFolder, content: Checkpoint, folder: Path, epoch: int) -> Path:
    """Write the records and the weights alone, without the state of the optimizers."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in _RECORDS:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    kept = Checkpoint(state_dict=content["state_dict"], epoch=epoch)
    torch.save(dict(kept), folder / _file_name(epoch))
    return folder


def _file_name(epoch: int) -> str:
    return f"checkpoints/epoch{epoch + 1:04d}.ckpt"


def _add_results(run: RunFolder, folder: Path, epoch: int) -> None:
    """Add what the test found of these weights, so that they predict as the run does."""
    for path in (run.metrics_file, run.done_file):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    if (trust := Trust.load(run.trust_file)) is not None:
        replace(trust, checkpoint=_file_name(epoch)).save(folder / run.trust_file.name)
