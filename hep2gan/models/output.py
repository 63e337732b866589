"""Output of the networks for a batch."""

from typing import NamedTuple

from torch import Tensor


class ModelOutput(NamedTuple):
    """Output of a method's networks; parts that it does not have are None.

    Attributes:
        mask: probabilities of foreground, (B, 1, H, W).
        probabilities: of the classes given that mask, (B, K).
        probabilities_true_mask: of the classes given the true mask, (B, K).
        features: of the classifier, (B, D).
    """

    mask: Tensor | None
    probabilities: Tensor | None
    probabilities_true_mask: Tensor | None
    features: Tensor | None

    def cpu(self) -> "ModelOutput":
        """Copy to host memory in float32."""
        return ModelOutput(*(None if part is None else part.float().cpu() for part in self))
