"""Grey-level jitter of images: gain, offset, gamma."""

import torch
from torch import Tensor

from hep2gan.data.transforms.random import Interval, Numbers, between, column, symmetric


def recoloured(
    image: Tensor,
    numbers: Numbers,
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
    factor, shift = between(numbers.gain, gain), symmetric(numbers.offset, offset)
    if gamma != (1.0, 1.0):
        image = image.clamp(0, 1) ** column(between(numbers.gamma, gamma))
    image = column(factor) * image + column(shift)
    image = image.clamp(0, 1) if bounded else image
    return image if jitter == 1 else torch.where(column(numbers.jitter) < jitter, image, kept)
