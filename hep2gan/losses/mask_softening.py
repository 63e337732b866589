"""True masks made soft, so that D cannot tell them from generated ones by grey levels alone."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.autocast import to_float32, without_autocast


class MaskSoftening(nn.Module):
    """Blur a binary mask and squeeze it into [level, 1 - level] before D sees it.

    Args:
        sigma: of a Gaussian blur, in pixels; 0 for none.
        level: distance from 0 and 1, in [0, 0.5).

    Raises:
        Hep2ganError: outside those ranges.
    """

    kernel: Tensor

    def __init__(self, sigma: float = 0.0, level: float = 0.0) -> None:
        super().__init__()
        if sigma < 0 or not 0.0 <= level < 0.5:
            raise Hep2ganError(
                f"softening of the true mask is sigma={sigma}, level={level}",
                "sigma must not be negative, level must be in [0, 0.5)",
            )
        self.level, self.radius = level, math.ceil(3 * sigma)
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma).square()) if sigma else torch.ones(1)
        self.register_buffer("kernel", kernel / kernel.sum(), persistent=False)

    def forward(self, mask: Tensor) -> Tensor:
        """Soften masks (B, 1, H, W) of {0, 1} to [level, 1 - level], same shape."""
        if not (self.radius or self.level):
            return to_float32(mask)
        with without_autocast(mask):
            return self.level + (1.0 - 2.0 * self.level) * self._blur(to_float32(mask))

    def _blur(self, mask: Tensor) -> Tensor:
        if self.radius == 0:
            return mask
        padded = F.pad(mask, (self.radius,) * 4, mode="replicate")
        kernel = self.kernel.to(mask.dtype)
        rows = F.conv2d(padded, kernel[None, None, None])
        return F.conv2d(rows, kernel[None, None, :, None])
