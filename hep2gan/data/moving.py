"""Flips, turns, shifts and zooms of images and their masks alike."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hep2gan.data.draws import Interval, Numbers, between, column, symmetric


def flipped(
    image: Tensor, mask: Tensor, numbers: Numbers, odds: tuple[float, float], *, turns: bool
) -> tuple[Tensor, Tensor]:
    """Flip (B, 1, S, S) images and masks, exactly: no pixel is interpolated.

    odds: of a horizontal and of a vertical flip. turns: turn by 0, 90, 180 or 270° besides.
    """
    pair = torch.cat([image, mask], 1)
    pair = _where(numbers.horizontal_flip < odds[0], pair.flip(-1), pair)
    pair = _where(numbers.vertical_flip < odds[1], pair.flip(-2), pair)
    if turns:
        quarters = (numbers.turns * 4).long()
        pair = _where(quarters % 2 == 1, pair.rot90(1, (-2, -1)), pair)
        pair = _where(quarters >= 2, pair.rot90(2, (-2, -1)), pair)
    return pair[:, :1], pair[:, 1:]


def _where(chosen: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
    return torch.where(column(chosen), changed, kept)


def resampled(
    image: Tensor, mask: Tensor, numbers: Numbers, rotation: float, shift: float, scale: Interval
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


def _affine(numbers: Numbers, rotation: float, shift: float, scale: Interval) -> Tensor:
    """(B, 2, 3) maps from output to input coordinates of −1..1: R(angle)·(p − shift)/scale."""
    angle = symmetric(numbers.rotation, rotation) * (math.pi / 180)
    zoom = between(numbers.scale, scale)
    x, y = (2 * symmetric(n, shift) for n in (numbers.shift_x, numbers.shift_y))
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # y runs downwards, so a positive angle turns the picture anticlockwise.
    rows = [cos, -sin, sin * y - cos * x, sin, cos, -sin * x - cos * y]
    return torch.stack(rows, 1).view(-1, 2, 3)
