"""Random numbers of training cells that do not depend on the number of ranks."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Draw(NamedTuple):
    """Where the random numbers of a training batch come from.

    They are drawn for the whole global batch, all ranks together, from (seed, epoch, batch); a
    rank uses rows offset, offset + stride, … of `total`. So they do not depend on the number of
    ranks, and differ between ranks.
    """

    seed: int
    epoch: int
    batch: int
    offset: int
    stride: int
    total: int


class Numbers(NamedTuple):
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

    @classmethod
    def drawn(cls, draw: Draw, device: torch.device) -> "Numbers":
        """The numbers of the cells of `draw`: equal on every device and for any number of ranks."""
        rng = np.random.default_rng([2, draw.seed, draw.epoch, draw.batch])
        table = torch.from_numpy(rng.random((draw.total, len(cls._fields)), np.float32))
        mine = table[draw.offset :: draw.stride].to(device, non_blocking=True)
        return cls(*mine.unbind(1))
