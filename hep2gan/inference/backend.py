"""What runs the networks on new images: PyTorch or ONNX Runtime."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class BackendOutput(NamedTuple):
    """What the networks say of B images; parts that a method does not have are None.

    mask: float32 (B, S, S) probabilities. probabilities: float32 (B, K).
    """

    mask: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


class InferenceBackend(Protocol):
    """Networks on uint8 (B, S, S) stored pixels and float32 (B, 2), what 0 and 255 stand for."""

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify a batch."""
