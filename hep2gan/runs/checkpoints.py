"""Content and names of checkpoints, and reading them without running code.

How a resume works. `hep2gan-train` with the same command and a run folder that is not DONE takes
the newest checkpoint that loads (`latest_readable`; a damaged one is reported and the one before it
taken). Its *name* says how many epochs and batches are done (`TrainingPosition`): from there the
batch sampler continues within the epoch, metrics.csv drops the rows of batches that are trained
again, and an offline wandb run is filled with the rows that are kept. Its *content* is a
`Checkpoint`: Lightning restores networks, optimizers, schedules, epoch counters and the states of
callbacks; within an epoch `EpochCheckpoint` gives each rank its own statistics of batch
normalisation, after DDP has broadcast rank 0's; with a moving average the networks get
`trained_weights` back, since `state_dict` holds the average. No state of a random generator is
saved: order and augmentation are functions of (seed, epoch, batch), and torch's generator is seeded
for every batch and rank. The configuration must be the first start's, apart from
`folder.RUNTIME_KEYS` and the number of epochs (`training.extension`). A resumed run ends with the
same bits as one that was never stopped.
"""

import logging
import math
import re
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import torch
from torch import Tensor

from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoint_safety import check_archive_safety

log = logging.getLogger(__name__)

BEST = "best.ckpt"
_NAME = re.compile(r"epoch(\d+)(?:_batch(\d+))?\.ckpt")


class BestValue(TypedDict):
    """State of `EpochCheckpoint`.

    Attributes:
        best: Highest value of the monitored metric so far; None before the first.
    """

    best: float | None


class SkippedUpdates(TypedDict):
    """State of `SkipNonfinite` in this epoch.

    Attributes:
        skipped: Number of skipped updates by network.
        finite_batches: Number of batches without a skipped update.
    """

    skipped: dict[str, int]
    finite_batches: int


class LossSums(TypedDict):
    """Sums over the batches that one rank has trained on in this epoch.

    Attributes:
        sums: Scalar tensors by loss term.
        batches: Number of batches in the sums.
    """

    sums: dict[str, Tensor]
    batches: int


class EpochLosses(TypedDict):
    """State of `LogLosses`.

    Attributes:
        ranks: One entry for each rank; absent between epochs.
    """

    ranks: NotRequired[list[LossSums]]


class CallbackStates(TypedDict, total=False):
    """State of each callback that has one; Lightning saves and restores it under the class name.

    Attributes:
        EpochCheckpoint: The best value of the monitored metric.
        LogLosses: The loss sums of the current epoch.
        SkipNonfinite: The skipped updates of the current epoch.
    """

    EpochCheckpoint: BestValue
    LogLosses: EpochLosses
    SkipNonfinite: SkippedUpdates


class Checkpoint(TypedDict):
    """The keys of a checkpoint that this package relies on.

    Lightning also restores `loops` and, in float16, the state of the gradient scaler.

    Attributes:
        state_dict: Weights and buffers by name, those that are evaluated. Written by Lightning and,
            with a moving average, by `ExponentialMovingAverage`. Read by Lightning, the test and
            `inference.load`.
        epoch: Epoch, counted from 0, in which it was saved. Written by Lightning.
        optimizer_states: One for each network, in the order of the module's `networks`. Written by
            Lightning.
        lr_schedulers: One for each network with a schedule. Written by Lightning.
        callbacks: States of the callbacks by class name. Written by Lightning.
        running_statistics: Only within an epoch: batch-normalisation statistics of each rank, which
            are averaged at the end of the epoch. Written and read by `EpochCheckpoint`, which
            refuses another number of ranks.
        trained_weights: Only with a moving average: the weights that training continues from, of
            the averaged networks. Written and read by `ExponentialMovingAverage`.
        average_statistics: Only with a moving average: each rank's average of the
            batch-normalisation statistics. Written and read by `ExponentialMovingAverage`.
    """

    state_dict: dict[str, Tensor]
    epoch: NotRequired[int]
    optimizer_states: NotRequired[list[dict[str, Any]]]
    lr_schedulers: NotRequired[list[dict[str, Any]]]
    callbacks: NotRequired[CallbackStates]
    running_statistics: NotRequired[list[dict[str, Tensor]]]
    trained_weights: NotRequired[dict[str, Tensor]]
    average_statistics: NotRequired[list[dict[str, Tensor]]]


class TrainingPosition(NamedTuple):
    """Progress of a training.

    Attributes:
        epochs: Number of complete epochs.
        batches: Number of batches done in the epoch that follows them.
    """

    epochs: int
    batches: int

    def path(self, folder: Path) -> Path:
        """Return the path of the checkpoint at this position.

        Args:
            folder: The run's folder of checkpoints.

        Returns:
            `epoch0003.ckpt` in `folder` after three epochs, `epoch0003_batch00012.ckpt` twelve
            batches later.
        """
        within = f"_batch{self.batches:05d}" if self.batches else ""
        return folder / f"epoch{self.epochs:04d}{within}.ckpt"

    @classmethod
    def of(cls, path: Path | None) -> "TrainingPosition":
        """Read the position from the name of a checkpoint.

        Args:
            path: A checkpoint named as by `path`, or None.

        Returns:
            The position; `TRAINING_START` for None.
        """
        if path is None:
            return TRAINING_START
        match = _NAME.fullmatch(path.name)
        assert match is not None
        return cls(int(match.group(1)), int(match.group(2) or 0))


TRAINING_START = TrainingPosition(0, 0)


def read_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint of tensors and plain containers onto the CPU; never run code from it.

    Args:
        path: The checkpoint file, trusted or not.

    Returns:
        Its content.

    Raises:
        Hep2ganError: If the file is missing, damaged, or holds anything else.
    """
    fix = "use another checkpoint of the run's checkpoints folder, or train again"
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", fix)
    try:
        # First, whatever torch is installed: releases below 2.10 trust what stands in the file.
        check_archive_safety(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Hep2ganError(f"{path} cannot be loaded ({reason})", "", fix) from error
    if not isinstance(content, dict) or not _are_weights(content.get("state_dict")):
        raise Hep2ganError(
            f"{path} is no checkpoint of a run", "it needs a state_dict of tensors by name", fix
        )
    return cast(Checkpoint, content)


def _are_weights(state: Any) -> bool:
    return isinstance(state, dict) and all(
        type(name) is str and isinstance(value, Tensor) and value.layout == torch.strided
        for name, value in state.items()
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints `epoch*.ckpt` of a folder, the most advanced first.

    Args:
        folder: The run's folder of checkpoints; may be missing.

    Returns:
        Their paths; without `best.ckpt`.
    """
    return sorted(
        (path for path in folder.glob("epoch*.ckpt") if _NAME.fullmatch(path.name)),
        key=TrainingPosition.of,
        reverse=True,
    )


def improves(value: float | None, best: float | None) -> bool:
    """Tell whether an epoch is to be chosen over the best one before it.

    Args:
        value: Its value of the metric that chooses; None where it was not validated.
        best: The highest value before; None before the first.

    Returns:
        Whether it is higher; a value that is not finite never is.
    """
    return value is not None and math.isfinite(value) and (best is None or value > best)


def latest_readable(folder: Path) -> Path | None:
    """Find the newest checkpoint that loads; log a warning for each damaged one that is skipped.

    Args:
        folder: The run's folder of checkpoints; may be missing.

    Returns:
        Its path, or None if no checkpoint loads.
    """
    latest = _load_latest(folder)
    return latest[0] if latest else None


def load_best_or_latest(folder: Path) -> tuple[Path, Checkpoint]:
    """Load the checkpoint that a run is tested with.

    It is `best.ckpt` if the validation part has selected an epoch, else the newest that loads.

    Args:
        folder: The run's folder of checkpoints.

    Returns:
        Its path and content.

    Raises:
        Hep2ganError: If there is none, or `best.ckpt` is damaged.
    """
    best = folder / BEST
    latest = (best, read_checkpoint(best)) if best.is_file() else _load_latest(folder)
    if latest is None:
        raise Hep2ganError(f"{folder} holds no checkpoint", "", "train the run with hep2gan-train")
    return latest


def _load_latest(folder: Path) -> tuple[Path, Checkpoint] | None:
    for path in list_checkpoints(folder):
        try:
            return path, read_checkpoint(path)
        except Hep2ganError as error:
            log.warning("%s Falling back to the one before.", error)
    return None
