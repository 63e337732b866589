"""What runs the networks of a run on new images: PyTorch or ONNX Runtime."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class BackendOutput(NamedTuple):
    """Results for B images of the networks that the method has; None for the others.

    mask: float32 (B, S, S) probabilities. probabilities: float32 (B, K).
    """

    mask: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


class InferenceBackend(Protocol):
    """Runs networks on batches of stored pixels."""

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify a batch.

        Args:
            image: uint8 (B, S, S), stored pixels.
            levels: float32 (B, 2), grey levels (0..255) that stored 0 and 255 stand for.
        """
