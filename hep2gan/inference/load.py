"""Load a trained run, its config, networks and checkpoint, and run it with PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hep2gan.config import RESTORE, TrainConfig, errors_naming_config, parse_run
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import BackendOutput
from hep2gan.models.output import ModelOutput
from hep2gan.runs.checkpoints import load_best_or_latest, read_checkpoint
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_task
from hep2gan.training.devices import to_channels_last
from hep2gan.training.module import SegmentationGuidedClassification


@dataclass(frozen=True)
class LoadedRun:
    """A run with its networks loaded, in eval mode, and what it remembers of its store."""

    run: RunFolder
    config: TrainConfig
    classes: tuple[str, ...]
    size: int
    store: Path
    largest_crop: int | None
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
    config = parse_run(run, trusted)
    if config.model.baseline:
        raise Hep2ganError(
            f"{folder} is a forest on texture features",
            "it has no networks and keeps no trees",
            "use the run of another method; hep2gan-evaluate grows the forest again",
        )
    classes, size, store, largest_crop = run.store_info()
    if checkpoint:
        path, state = Path(checkpoint), read_checkpoint(Path(checkpoint))
    else:
        path, state = load_best_or_latest(run.checkpoints)
    build = partial(_build, run, config, classes, size)
    # First without memory: a few digits in a configuration can ask for terabytes.
    with torch.device("meta"):
        _check_weights_fit(path, state["state_dict"], build().state_dict(), run)
    task = build()
    task.load_state_dict(state["state_dict"])
    return LoadedRun(run, config, classes, size, store, largest_crop, task.eval(), path)


def _build(
    run: RunFolder,
    config: TrainConfig,
    classes: Sequence[str],
    size: int,
) -> SegmentationGuidedClassification:
    try:
        with errors_naming_config(run):
            return build_task(config, classes=classes, size=size, load_weights=False)
    except Hep2ganError:
        raise
    # Whatever is missing or of a wrong type trips the networks somewhere.
    except Exception as error:
        raise Hep2ganError(
            f"{run.config_file} describes no networks ({type(error).__name__}: {error})",
            "a run's configuration is left as it was written",
            RESTORE,
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


class TorchBackend:
    """Runs a task on a device, in eval mode.

    Raises Hep2ganError for a task that needs true masks.
    """

    def __init__(
        self,
        task: SegmentationGuidedClassification,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        task.guidance.require_no_truth()
        self._task, self._normalisation = task.to(device).eval(), normalisation
        self._device = device
        if device.type == "cpu":
            to_channels_last(task.networks.values())

    @torch.inference_mode()
    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify uint8 (B, S, S) pixels with (B, 2) grey levels of 0 and 255."""
        pixels, ranges = (torch.from_numpy(part).to(self._device) for part in (image, levels))
        output: ModelOutput = self._task(self._normalisation(pixels, ranges)).cpu()
        mask = None if output.mask is None else output.mask[:, 0].numpy()
        probabilities = None if output.probabilities is None else output.probabilities.numpy()
        return BackendOutput(mask, probabilities)
