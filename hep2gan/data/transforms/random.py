"""Random numbers of training cells that do not depend on the number of ranks."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hep2gan.data.batch import BatchSeed, to_device

Interval = tuple[float, float]


class AugmentationParams(NamedTuple):
    """Random numbers of B cells, each uniform in [0, 1), float32 (B,).

    Every option has a number of its own, so that switching one on leaves the others as they were.
    """

    horizontal_flip: Tensor
    vertical_flip: Tensor
    turns: Tensor
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
    def drawn(cls, draw: BatchSeed, device: torch.device) -> "AugmentationParams":
        """The numbers of the cells of `draw`: equal on every device and for any number of ranks."""
        rng = np.random.default_rng([2, draw.seed, draw.epoch, draw.batch])
        # Options that came later are drawn after the others, which keep their numbers.
        tables = [rng.random((draw.total, width), np.float32) for width in _WIDTHS]
        table = torch.from_numpy(np.concatenate(tables, axis=1))
        return cls(*to_device(table[draw.offset :: draw.stride], device).unbind(1))


_WIDTHS = (10, 2, 1)
"""How many options came at a time."""


def sample_noise(draw: BatchSeed, like: Tensor) -> Tensor:
    """N(0, 1) for each pixel of (B, 1, S, S) cells of `draw`, on their device.

    For any number of ranks the same; a GPU's numbers are not the CPU's.
    """
    # The leading 4 keeps these numbers apart from those of orders, options and seeds of a batch.
    words = np.random.SeedSequence([4, draw.seed, draw.epoch, draw.batch])
    seed = int(words.generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator(like.device).manual_seed(seed)
    shape = (draw.total, *like.shape[1:])
    noise = torch.randn(shape, generator=generator, device=like.device, dtype=torch.float32)
    return noise[draw.offset :: draw.stride]


def as_column(values: Tensor) -> Tensor:
    """Numbers (B,) of B images, to go with their pixels: (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def sample_symmetric(number: Tensor, extent: float) -> Tensor:
    """Uniform in [−extent, extent), from uniform in [0, 1)."""
    return (2 * number - 1) * extent


def sample_between(number: Tensor, interval: Interval) -> Tensor:
    """Log-uniform in the interval, from uniform in [0, 1): halving is as likely as doubling."""
    low, high = map(math.log, interval)
    return torch.exp(low + number * (high - low))
