"""Load the networks of a run or of its exported weights, and run them with PyTorch."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hep2gan.config import (
    RESTORE,
    Accelerator,
    TrainConfig,
    errors_naming,
    parse_run,
    parse_source,
)
from hep2gan.data.readers.image import ImageReading
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.cam import ActivationMapper
from hep2gan.inference.configuration import parse_shared
from hep2gan.inference.exported import Export
from hep2gan.inference.predict import BackendOutput, InferenceBackend
from hep2gan.inference.weights import read_weights
from hep2gan.models.output import ModelOutput
from hep2gan.runs.checkpoints import load_best_or_latest, read_checkpoint
from hep2gan.runs.folder import CropGeometry, RunFolder
from hep2gan.runs.trust import Trust
from hep2gan.training.build import build_task
from hep2gan.training.devices import full_float32, resolve_device, to_channels_last
from hep2gan.training.gpu_support import require_kernels
from hep2gan.training.module import SegmentationGuidedClassification


@dataclass(frozen=True)
class LoadedRun:
    """A run with its networks loaded, in eval mode.

    Attributes:
        run: The run's folder.
        config: Its configuration.
        classes: K class names, in the order of the probabilities.
        size: S, the side of its images in pixels.
        store: Folder of the store that it was trained on, which may no longer exist.
        crops: How large its raw cells are; None if it was not recorded.
        reading: White level, channel and plane of its raw images.
        task: The networks, on the CPU.
        checkpoint: The file that the weights come from.
    """

    run: RunFolder
    config: TrainConfig
    classes: tuple[str, ...]
    size: int
    store: Path
    crops: CropGeometry | None
    reading: ImageReading
    task: SegmentationGuidedClassification
    checkpoint: Path

    def trust(self) -> Trust | None:
        """Read what the test of these weights found of how far predictions are to be trusted.

        Returns:
            The facts; None if these weights were not tested, or do not classify.

        Raises:
            Hep2ganError: If trust.json is damaged.
        """
        trust = Trust.load(self.run.trust_file)
        tested = trust and trust.checkpoint == self.run.name_checkpoint(self.checkpoint)
        return trust.require_classes(self.classes) if trust and tested else None


def load_run(folder: Path, checkpoint: str | None = None, trusted: Sequence[str] = ()) -> LoadedRun:
    """Build the networks from the run's own configuration and load a checkpoint into them.

    Args:
        folder: The run's folder.
        checkpoint: A checkpoint file; None takes best.ckpt where a validation part chose the epoch,
            else the newest.
        trusted: Packages whose classes the configuration may name beside the allowed ones.

    Returns:
        The run and its networks, on the CPU.

    Raises:
        Hep2ganError: Anything is missing, damaged or does not fit.
    """
    run = RunFolder.open(folder)
    config = parse_run(run, trusted)
    if config.model.baseline:
        raise Hep2ganError(
            f"{folder} is a forest on texture features",
            "it has no networks and keeps no trees",
            "use the run of another method; hep2gan-evaluate grows the forest again",
        )
    info = run.store_info()
    if checkpoint:
        path, state = Path(checkpoint), read_checkpoint(Path(checkpoint))
    else:
        path, state = load_best_or_latest(run.checkpoints)
    build = partial(_build, run, config, info.classes, info.size)

    def misfit(found: str) -> Hep2ganError:
        return Hep2ganError(
            f"{path} does not fit the networks of {run.config_file} ({found})",
            "a checkpoint belongs to its run's configuration",
            "use a checkpoint of this run",
        )

    task = _load_weights(build, state["state_dict"], misfit)
    source = parse_source(config.data, trusted)
    return LoadedRun(
        run,
        config,
        info.classes,
        info.size,
        info.path,
        info.crops,
        ImageReading(source.white_level, source.channel, source.plane),
        task,
        path,
    )


def load_export(
    export: Export, trusted: Sequence[str] = ()
) -> tuple[SegmentationGuidedClassification, TrainConfig]:
    """Build the networks that an export describes and load its weights into them; no code is read.

    Args:
        export: An export in safetensors.
        trusted: As in `load_run`.

    Returns:
        The networks, on the CPU, in eval mode; and their configuration.

    Raises:
        Hep2ganError: Anything is damaged, does not fit, or names a class that is not allowed.
    """
    with errors_naming(f"the configuration in {export}", export.fix):
        config = parse_shared(export.configuration, trusted)
    build = partial(_build, export, config, export.classes, export.size)
    weights = read_weights(export.weights, export.fix)

    def misfit(found: str) -> Hep2ganError:
        fact = f"{export.weights.name} of {export} does not fit the networks it describes ({found})"
        return Hep2ganError(fact, "weights belong to their own description", export.fix)

    return _load_weights(build, weights, misfit), config


def torch_backend(
    task: SegmentationGuidedClassification, config: TrainConfig, accelerator: Accelerator
) -> "TorchBackend":
    """Move networks to the device where they are to predict.

    Args:
        task: The networks.
        config: Their configuration.
        accelerator: "gpu", "cpu" or "auto" for the first GPU that there is.

    Returns:
        The networks, in eval mode.

    Raises:
        Hep2ganError: There is no such device, torch has no kernels for it, or the networks need
            true masks.
    """
    device = resolve_device(accelerator)
    if device.type == "cuda":
        require_kernels([0])
    return TorchBackend(task, config.normalisation, device)


def _build(
    source: RunFolder | Export,
    config: TrainConfig,
    classes: Sequence[str],
    size: int,
) -> SegmentationGuidedClassification:
    if isinstance(source, RunFolder):
        where, fix = str(source.config_file), RESTORE
    else:
        where, fix = f"the configuration in {source}", source.fix
    try:
        with errors_naming(where, fix):
            return build_task(config, classes=classes, size=size, load_weights=())
    except Hep2ganError:
        raise
    # Whatever is missing or of a wrong type trips the networks somewhere.
    except Exception as error:
        raise Hep2ganError(
            f"{where} describes no networks ({type(error).__name__}: {error})",
            "a configuration is left as it was written",
            fix,
        ) from error


def _load_weights(
    build: Callable[[], SegmentationGuidedClassification],
    weights: Mapping[str, Tensor],
    misfit: Callable[[str], Hep2ganError],
) -> SegmentationGuidedClassification:
    """Build networks with these weights; `misfit` makes the error of weights that do not fit."""
    # First without memory: a few digits in a configuration can ask for terabytes.
    with torch.device("meta"):
        expected = build().state_dict()
    if differences := _differences(weights, expected):
        raise misfit(f"{len(differences)} differences, the first is: {min(differences)}")
    # Initial weights are random numbers, and the caller's own go on undisturbed.
    with torch.random.fork_rng(devices=()):
        task = build()
    task.load_state_dict(weights)
    return task.eval()


def _differences(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [
        *(f"{name} is missing" for name in expected.keys() - saved.keys()),
        *(f"{name} is unknown" for name in saved.keys() - expected.keys()),
        *(
            f"{name} has shape {tuple(saved[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in expected.keys() & saved.keys()
            if saved[name].shape != expected[name].shape
        ),
    ]


class TorchBackend:
    """Run a task on a device, in eval mode and float32, as it was tested.

    Args:
        task: The networks of a trained run; they are moved to the device.
        normalisation: The normalisation that they were trained with.
        device: Where they run.

    Raises:
        Hep2ganError: The task needs true masks.
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
        self._mixture = task.mixture
        self._evaluate: Callable[[Tensor], ModelOutput] = task
        self._cam = None if task.classifier is None else ActivationMapper(task.classifier)
        if device.type == "cpu":
            to_channels_last(task.networks.values())

    @torch.inference_mode()
    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify a batch.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).

        Returns:
            The masks, probabilities and distances of the networks that there are.
        """
        pixels, ranges = (torch.from_numpy(part).to(self._device) for part in (image, levels))
        with full_float32():
            output = self._evaluate(self._normalisation(pixels, ranges))
        mixture, features = self._mixture, output.features
        distances = None if mixture is None or features is None else mixture.distances(features)
        output = output.cpu()
        return BackendOutput(
            None if output.mask is None else output.mask[:, 0].numpy(),
            None if output.probabilities is None else output.probabilities.numpy(),
            None if distances is None else distances.cpu().numpy(),
        )

    def single_view(self) -> InferenceBackend:
        """Return the same networks without the run's own test-time views."""
        single = copy.copy(self)
        single._evaluate = self._task.evaluate_view
        return single

    @torch.no_grad()
    def activation_maps(
        self,
        image: npt.NDArray[np.uint8],
        levels: npt.NDArray[np.float32],
        predicted: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32] | None:
        """Map what speaks for a class of each image, in the image as it is.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).
            predicted: (B,) the classes.

        Returns:
            float32 (B, S, S) in [0, 1], see `ActivationMapper`; None without a classifier.

        Raises:
            Hep2ganError: The classifier has no convolutional map before its features.
        """
        if self._cam is None:
            return None
        pixels, ranges, classes = (
            torch.from_numpy(part).to(self._device) for part in (image, levels, predicted)
        )
        normalised = self._normalisation(pixels, ranges)
        generator, guidance = self._task.generator, self._task.guidance
        mask = None if generator is None else generator(normalised).sigmoid()
        maps = self._cam(normalised, guidance.select(normalised, mask, None), classes)
        return np.asarray(maps.cpu().numpy(), np.float32)
