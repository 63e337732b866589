"""The networks of a run in PyTorch, as `Predictor` wants them."""

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.inference.backend import BackendOutput
from hep2gan.models.output import ModelOutput
from hep2gan.training.devices import to_channels_last
from hep2gan.training.module import SegmentationGuidedClassification


class TorchBackend:
    """Runs a task on a device, in eval mode. Raises Hep2ganError for one that needs true masks."""

    def __init__(
        self,
        task: SegmentationGuidedClassification,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        task.guidance.require_no_truth()
        self._task, self._normalisation = task.to(device).eval(), normalisation
        if device.type == "cpu":
            # For good, where `fast_forward` would move the weights for each batch.
            to_channels_last(task.networks.values())
        self._device = device

    @torch.inference_mode()
    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify uint8 (B, S, S) pixels with (B, 2) grey levels of 0 and 255."""
        pixels, known = (torch.from_numpy(part).to(self._device) for part in (image, levels))
        outputs: ModelOutput = self._task(self._normalisation(pixels, known)).cpu()
        mask = None if outputs.mask is None else outputs.mask[:, 0].numpy()
        chances = outputs.probabilities
        return BackendOutput(mask, None if chances is None else chances.numpy())
