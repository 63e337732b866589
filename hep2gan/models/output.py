"""What the networks say of a batch."""

from typing import NamedTuple

from torch import Tensor


class ModelOutput(NamedTuple):
    """Parts that a method does not have are None.

    mask: (B, 1, H, W) probabilities. probabilities: (B, K) given that mask.
    probabilities_true_mask: (B, K) given the true mask. features: (B, D).
    """

    mask: Tensor | None
    probabilities: Tensor | None
    probabilities_true_mask: Tensor | None
    features: Tensor | None

    def cpu(self) -> "ModelOutput":
        """Copy to host memory in float32."""
        return ModelOutput(*(None if part is None else part.float().cpu() for part in self))
