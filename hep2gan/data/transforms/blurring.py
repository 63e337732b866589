"""Gaussian blur of a batch, each image with a width of its own."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def blurred(image: Tensor, sigma: Tensor, widest: float) -> Tensor:
    """Convolve (B, 1, S, S) images with Gaussians of standard deviations `sigma` (B,), in pixels.

    widest: no sigma is above it; kernels reach to three times as far, or as the image allows.
    Outside, images are mirrored. A sigma of 0 leaves its image as it is.
    """
    radius = min(math.ceil(3 * widest), image.shape[-1] - 1)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float32)
    # Narrower than any pixel: the kernel of 0 is exactly 1 in its middle.
    width = sigma.clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (offsets / width) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(image.dtype)
    # One group an image: (1, B, S, S) in, a kernel of (1, K) or (K, 1) for each of B channels.
    cells = F.pad(image.transpose(0, 1), [radius] * 4, mode="reflect")
    cells = F.conv2d(cells, kernel[:, None, None, :], groups=len(image))
    return F.conv2d(cells, kernel[:, None, :, None], groups=len(image)).transpose(0, 1)
