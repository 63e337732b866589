"""Grey-level jitter of images: gain, offset, gamma."""

from torch import Tensor

from hep2gan.data.draws import Interval, Numbers, between, column, symmetric


def recoloured(
    image: Tensor,
    numbers: Numbers,
    gain: Interval,
    offset: float,
    gamma: Interval,
    *,
    bounded: bool,
) -> Tensor:
    """gain·imageᵞ + offset for (B, 1, S, S) images, each with numbers of its own.

    bounded: images lie in [0, 1] and are kept there.
    """
    factor, shift = between(numbers.gain, gain), symmetric(numbers.offset, offset)
    if gamma != (1.0, 1.0):
        image = image.clamp(0, 1) ** column(between(numbers.gamma, gamma))
    image = column(factor) * image + column(shift)
    return image.clamp(0, 1) if bounded else image
