"""Inference with PyTorch."""

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.inference.backend import BackendOutput
from hep2gan.models.output import ModelOutput
from hep2gan.training.devices import to_channels_last
from hep2gan.training.module import SegmentationGuidedClassification


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
        if device.type == "cpu":
            to_channels_last(task.networks.values())
        self._device = device

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
