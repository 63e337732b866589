"""Random numbers of the augmentation, which do not depend on the number of ranks."""

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
        """Sample the numbers of a batch: equal on every device and for any number of ranks."""
        rng = np.random.default_rng([2, batch_seed.seed, batch_seed.epoch, batch_seed.batch])
        # Options that were added later are sampled after the others, which keep their numbers.
        tables = [rng.random((batch_seed.total, width), np.float32) for width in _WIDTHS]
        table = torch.from_numpy(np.concatenate(tables, axis=1))
        return cls(*to_device(table[batch_seed.offset :: batch_seed.stride], device).unbind(1))


_WIDTHS = (10, 2, 1)
"""How many options were added at a time."""


def sample_noise(batch_seed: BatchSeed, like: Tensor) -> Tensor:
    """Sample N(0, 1) for each pixel of the (B, 1, S, S) cells of a batch, on their device.

    The same for any number of ranks; a GPU's numbers are not the CPU's.
    """
    # The leading 4 keeps these numbers apart from those of orders, options and seeds of a batch.
    words = np.random.SeedSequence([4, batch_seed.seed, batch_seed.epoch, batch_seed.batch])
    seed = int(words.generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator(like.device).manual_seed(seed)
    shape = (batch_seed.total, *like.shape[1:])
    noise = torch.randn(shape, generator=generator, device=like.device, dtype=torch.float32)
    return noise[batch_seed.offset :: batch_seed.stride]


def per_image(values: Tensor) -> Tensor:
    """Reshape (B,) numbers to (B, 1, 1, 1), to be combined with the pixels of B images."""
    return values.view(-1, 1, 1, 1)


def to_symmetric(uniform: Tensor, extent: float) -> Tensor:
    """Map uniform numbers in [0, 1) to uniform in [−extent, extent)."""
    return (2 * uniform - 1) * extent


def to_interval(uniform: Tensor, interval: Interval) -> Tensor:
    """Map uniform numbers in [0, 1) to log-uniform: halving is as likely as doubling."""
    low, high = map(math.log, interval)
    return torch.exp(low + uniform * (high - low))
