"""Geometric and photometric transforms of batches, each image with its own parameters.

Their random numbers do not depend on the number of ranks.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hep2gan.data.batch import BatchSeed, to_device

Interval = tuple[float, float]


class AugmentationParams(NamedTuple):
    """Random numbers of B cells, each uniform in [0, 1), float32 (B,).

    Every option has its own number, so that switching one on does not change the others.

    Attributes:
        horizontal_flip: Decides on the horizontal flip.
        vertical_flip: Decides on the vertical flip.
        quarter_turns: Chooses the number of quarter turns.
        rotation: Chooses the angle.
        shift_x: Chooses the shift along x.
        shift_y: Chooses the shift along y.
        scale: Chooses the zoom.
        gain: Chooses the factor of the grey levels.
        offset: Chooses the offset of the grey levels.
        gamma: Chooses the exponent of the grey levels.
        blur: Chooses the width of the blur.
        noise: Chooses the standard deviation of the noise.
        jitter: Decides whether grey levels change.
    """

    horizontal_flip: Tensor
    vertical_flip: Tensor
    quarter_turns: Tensor
    rotation: Tensor
    shift_x: Tensor
    shift_y: Tensor
    scale: Tensor
    gain: Tensor
    offset: Tensor
    gamma: Tensor
    blur: Tensor
    noise: Tensor
    jitter: Tensor

    @classmethod
    def sample(cls, batch_seed: BatchSeed, device: torch.device) -> "AugmentationParams":
        """Sample the numbers of a batch: equal on every device and for any number of ranks.

        Args:
            batch_seed: Source of the random numbers.
            device: Device of the result.

        Returns:
            The numbers of the cells of this rank.
        """
        rng = np.random.default_rng([2, batch_seed.seed, batch_seed.epoch, batch_seed.batch])
        # Options that were added later are sampled after the others, which keep their numbers.
        tables = [rng.random((batch_seed.total, width), np.float32) for width in _WIDTHS]
        table = torch.from_numpy(np.concatenate(tables, axis=1))
        return cls(*to_device(table[batch_seed.offset :: batch_seed.stride], device).unbind(1))


_WIDTHS = (10, 2, 1)
"""How many options were added at a time."""


def sample_noise(batch_seed: BatchSeed, like: Tensor) -> Tensor:
    """Sample N(0, 1) for each pixel of the cells of a batch.

    The same for any number of ranks; a GPU's numbers are not those of the CPU.

    Args:
        batch_seed: Source of the random numbers.
        like: (B, 1, S, S) cells, which give shape and device.

    Returns:
        float32 (B, 1, S, S).
    """
    # The leading 4 keeps these numbers apart from those of orders, options and seeds of a batch.
    words = np.random.SeedSequence([4, batch_seed.seed, batch_seed.epoch, batch_seed.batch])
    seed = int(words.generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator(like.device).manual_seed(seed)
    shape = (batch_seed.total, *like.shape[1:])
    noise = torch.randn(shape, generator=generator, device=like.device, dtype=torch.float32)
    return noise[batch_seed.offset :: batch_seed.stride]


def per_image(values: Tensor) -> Tensor:
    """Reshape numbers so that they can be combined with the pixels of B images.

    Args:
        values: (B,).

    Returns:
        (B, 1, 1, 1).
    """
    return values.view(-1, 1, 1, 1)


def to_symmetric(uniform: Tensor, extent: float) -> Tensor:
    """Map uniform numbers in [0, 1) to uniform numbers in [−extent, extent).

    Args:
        uniform: Numbers in [0, 1).
        extent: End of the interval.

    Returns:
        The numbers.
    """
    return (2 * uniform - 1) * extent


def to_interval(uniform: Tensor, interval: Interval) -> Tensor:
    """Map uniform numbers in [0, 1) to log-uniform ones: halving is as likely as doubling.

    Args:
        uniform: Numbers in [0, 1).
        interval: Both ends, above 0.

    Returns:
        The numbers.
    """
    low, high = map(math.log, interval)
    return torch.exp(low + uniform * (high - low))


def flip(
    image: Tensor,
    mask: Tensor | None,
    params: AugmentationParams,
    probability: tuple[float, float],
    *,
    quarter_turns: bool,
) -> tuple[Tensor, Tensor | None]:
    """Flip images and masks alike and exactly: no pixel is interpolated.

    Args:
        image: (B, S, S) of any type.
        mask: (B, S, S) of any type, or None.
        params: Random numbers of the batch.
        probability: Probabilities of a horizontal and of a vertical flip.
        quarter_turns: Also rotate by 0, 90, 180 or 270°.

    Returns:
        Images and masks, shaped as they were.
    """
    if any(probability):
        horizontal = params.horizontal_flip < probability[0]
        rows = _flipped_rows(horizontal, params.vertical_flip < probability[1], image)
        image, mask = _move_both(image, mask, lambda pixels: _select_rows(pixels, rows))
    if quarter_turns:
        quarters = (params.quarter_turns * 4).long()
        image, mask = _move_both(image, mask, lambda pixels: _rotate_quarters(pixels, quarters))
    return image, mask


def _move_both(
    image: Tensor, mask: Tensor | None, move: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    return move(image), None if mask is None else move(mask)


def _flipped_rows(horizontal: Tensor, vertical: Tensor, like: Tensor) -> Tensor:
    """Compute (B·S,) rows of pixels, to be selected from images followed by their mirror images."""
    count, side = like.shape[:2]
    cells = torch.arange(count, device=like.device) + horizontal * count
    down = torch.arange(side, device=like.device)
    order = torch.where(vertical[:, None], down.flip(0), down)
    return (cells[:, None] * side + order).flatten()


def _select_rows(images: Tensor, rows: Tensor) -> Tensor:
    # Whole rows are copied, many times faster than choosing pixel by pixel (torch.where).
    both = torch.cat([images, images.flip(-1)])
    return both.flatten(0, 1).index_select(0, rows).view(images.shape)


def _rotate_quarters(images: Tensor, quarters: Tensor) -> Tensor:
    one, two = (quarters % 2 == 1)[:, None, None], (quarters >= 2)[:, None, None]
    images = torch.where(one, images.rot90(1, (-2, -1)), images)
    return torch.where(two, images.rot90(2, (-2, -1)), images).contiguous()


def affine(
    image: Tensor,
    mask: Tensor | None,
    params: AugmentationParams,
    rotation: float,
    shift: float,
    scale: Interval,
) -> tuple[Tensor, Tensor | None]:
    """Rotate, shift and zoom in one resampling.

    Images are interpolated bilinearly; masks take the nearest pixel and are 0 beyond their edges.
    There an image shows what lies between its edge and the nucleus, mirrored to and fro, so that
    neither an edge nor a nucleus without its mask is seen.

    Args:
        image: (B, 1, S, S).
        mask: (B, 1, S, S), or None.
        params: Random numbers of the batch.
        rotation: Largest rotation in degrees, in either direction.
        shift: Largest shift in either direction, as a fraction of the side.
        scale: Interval of the zoom.

    Returns:
        Images and masks, shaped as they were.
    """
    grid = F.affine_grid(
        _affine_matrices(params, rotation, shift, scale), list(image.shape), align_corners=False
    ).to(image.dtype)
    inside = _fold_into_margins(grid, _margins(mask, image))
    moved = F.grid_sample(image, inside, "bilinear", "border", align_corners=False)
    if mask is not None:
        mask = F.grid_sample(mask, grid, "nearest", "zeros", align_corners=False)
    return moved, mask


_UNKNOWN_MARGIN = 0.1
"""Width of the margin of images without a mask, as a fraction of their side."""


def _margins(mask: Tensor | None, image: Tensor) -> Tensor:
    """Measure (B, 2, 2) pixels of margin without mask: left and right, top and bottom."""
    count, side = len(image), image.shape[-1]
    if mask is None:
        return image.new_full((count, 2, 2), max(_UNKNOWN_MARGIN * side, 1.0))
    lines = torch.stack([mask.amax(dim=(1, axis)) > 0 for axis in (2, 3)], 1)
    # Lines that a mask has touched before them; an empty mask leaves all of the image.
    return torch.stack([(part.cumsum(2) == 0).sum(2) for part in (lines, lines.flip(2))], 2).to(
        image.dtype
    )


def _fold_into_margins(grid: Tensor, margins: Tensor) -> Tensor:
    """Map what lies beyond an edge into the margin there, or opposite if there is none.

    Args:
        grid: (B, S, S, 2) places x, y of pixels, the image from −1 to 1.
        margins: (B, 2, 2) pixels, of x and y, low end and high end.

    Returns:
        Places of the same shape; those within the image unchanged.
    """
    pixel = 2 / grid.shape[1]
    # Half a pixel less: no interpolation with the first pixel of the mask.
    bands = (margins - 0.5).clamp(min=0)[:, None, None] * pixel
    below = grid < 0
    own = torch.where(below, bands[..., 0], bands[..., 1])
    other = torch.where(below, bands[..., 1], bands[..., 0])
    borrows = (own == 0) & (other > 0)
    band = torch.where(borrows, other, own).clamp(min=0.5 * pixel)
    beyond = grid.abs() - 1
    depth = band - (beyond.remainder(2 * band) - band).abs()
    edge = torch.where(below ^ borrows, -1.0, 1.0).to(grid.dtype)
    return torch.where(beyond > 0, edge * (1 - depth), grid)


def _affine_matrices(
    params: AugmentationParams, rotation: float, shift: float, scale: Interval
) -> Tensor:
    """Compute (B, 2, 3) maps from output to input coordinates: R(angle)·(p − shift)/scale."""
    angle = to_symmetric(params.rotation, rotation) * (math.pi / 180)
    zoom = to_interval(params.scale, scale)
    x, y = (2 * to_symmetric(n, shift) for n in (params.shift_x, params.shift_y))
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # y runs downwards, so a positive angle turns the picture anticlockwise.
    rows = [cos, -sin, sin * y - cos * x, sin, cos, -sin * x - cos * y]
    return torch.stack(rows, 1).view(-1, 2, 3)


def jitter_grey_levels(
    image: Tensor,
    params: AugmentationParams,
    gain: Interval,
    offset: float,
    gamma: Interval,
    jitter: float,
    *,
    bounded: bool,
) -> Tensor:
    """Compute gain·imageᵞ + offset.

    Args:
        image: (B, 1, S, S).
        params: Random numbers of the batch.
        gain: Interval of the factor.
        offset: Largest offset, in either direction.
        gamma: Interval of the exponent.
        jitter: Probability that an image changes.
        bounded: Images are in [0, 1] and are clamped to it.

    Returns:
        The images, shaped as they were.
    """
    original = image
    factor, shift = to_interval(params.gain, gain), to_symmetric(params.offset, offset)
    if gamma != (1.0, 1.0):
        image = image.clamp(0, 1) ** per_image(to_interval(params.gamma, gamma))
    image = per_image(factor) * image + per_image(shift)
    image = image.clamp(0, 1) if bounded else image
    return image if jitter == 1 else torch.where(per_image(params.jitter) < jitter, image, original)


def gaussian_blur(image: Tensor, sigma: Tensor, widest: float) -> Tensor:
    """Blur each image with a Gaussian of its own width; beyond their edges images are mirrored.

    Args:
        image: (B, 1, S, S).
        sigma: (B,) standard deviations in pixels; 0 does not change its image.
        widest: Upper bound of all sigmas; kernels extend to three times this, or as far as the
            image allows.

    Returns:
        The images, shaped as they were.
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
