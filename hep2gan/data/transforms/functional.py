"""Gaussian blur of a batch, each image with a width of its own."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hep2gan.data.transforms.random import (
    AugmentationParams,
    Interval,
    as_column,
    sample_between,
    sample_symmetric,
)


def gaussian_blur(image: Tensor, sigma: Tensor, widest: float) -> Tensor:
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


def flip(
    image: Tensor,
    mask: Tensor,
    numbers: AugmentationParams,
    odds: tuple[float, float],
    *,
    turns: bool,
) -> tuple[Tensor, Tensor]:
    """Flip (B, S, S) images and masks of any type, exactly: no pixel is interpolated.

    odds: of a horizontal and of a vertical flip. turns: turn by 0, 90, 180 or 270° besides.
    """
    if any(odds):
        rows = _rows(numbers.horizontal_flip < odds[0], numbers.vertical_flip < odds[1], image)
        image, mask = _picked(image, rows), _picked(mask, rows)
    if turns:
        quarters = (numbers.turns * 4).long()
        image, mask = _rotation(image, quarters), _rotation(mask, quarters)
    return image, mask


def _rows(horizontal: Tensor, vertical: Tensor, like: Tensor) -> Tensor:
    """(B·S,) rows of pixels, to be picked from the images and, behind them, their mirror images."""
    count, side = like.shape[:2]
    cells = torch.arange(count, device=like.device) + horizontal * count
    down = torch.arange(side, device=like.device)
    order = torch.where(vertical[:, None], down.flip(0), down)
    return (cells[:, None] * side + order).flatten()


def _picked(images: Tensor, rows: Tensor) -> Tensor:
    # Whole rows are copied, many times faster than choosing pixel by pixel (torch.where).
    both = torch.cat([images, images.flip(-1)])
    return both.flatten(0, 1).index_select(0, rows).view(images.shape)


def _rotation(images: Tensor, quarters: Tensor) -> Tensor:
    one, two = (quarters % 2 == 1)[:, None, None], (quarters >= 2)[:, None, None]
    images = torch.where(one, images.rot90(1, (-2, -1)), images)
    return torch.where(two, images.rot90(2, (-2, -1)), images).contiguous()


def affine(
    image: Tensor,
    mask: Tensor,
    numbers: AugmentationParams,
    rotation: float,
    shift: float,
    scale: Interval,
) -> tuple[Tensor, Tensor]:
    """Rotate, shift and zoom (B, 1, S, S) in one resampling; float32 also under autocast.

    rotation: up to ±degrees. shift: up to ±share of the side. scale: zoom. Bilinear for images,
    which are mirrored beyond their edges; nearest for masks, which are 0 there.
    """
    grid = F.affine_grid(
        _affine(numbers, rotation, shift, scale), list(image.shape), align_corners=False
    ).to(image.dtype)
    moved = F.grid_sample(image, grid, "bilinear", "reflection", align_corners=False)
    return moved, F.grid_sample(mask, grid, "nearest", "zeros", align_corners=False)


def _affine(numbers: AugmentationParams, rotation: float, shift: float, scale: Interval) -> Tensor:
    """(B, 2, 3) maps from output to input coordinates of −1..1: R(angle)·(p − shift)/scale."""
    angle = sample_symmetric(numbers.rotation, rotation) * (math.pi / 180)
    zoom = sample_between(numbers.scale, scale)
    x, y = (2 * sample_symmetric(n, shift) for n in (numbers.shift_x, numbers.shift_y))
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # y runs downwards, so a positive angle turns the picture anticlockwise.
    rows = [cos, -sin, sin * y - cos * x, sin, cos, -sin * x - cos * y]
    return torch.stack(rows, 1).view(-1, 2, 3)


def jitter_grey_levels(
    image: Tensor,
    numbers: AugmentationParams,
    gain: Interval,
    offset: float,
    gamma: Interval,
    jitter: float,
    *,
    bounded: bool,
) -> Tensor:
    """gain·imageᵞ + offset for (B, 1, S, S) images, each with numbers of its own.

    jitter: probability that an image changes. bounded: images lie in [0, 1] and are kept there.
    """
    kept = image
    factor, shift = sample_between(numbers.gain, gain), sample_symmetric(numbers.offset, offset)
    if gamma != (1.0, 1.0):
        image = image.clamp(0, 1) ** as_column(sample_between(numbers.gamma, gamma))
    image = as_column(factor) * image + as_column(shift)
    image = image.clamp(0, 1) if bounded else image
    return image if jitter == 1 else torch.where(as_column(numbers.jitter) < jitter, image, kept)
