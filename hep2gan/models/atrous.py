"""Atrous rates (eq. 4, r) that fit the feature map they are used on."""

from collections.abc import Sequence


def live_taps(size: int, stride: int, rate: int) -> int:
    """Count the taps of a 3x3 kernel that ever see a pixel, 9 or 1, the rest seeing only padding.

    size: image side in pixels. stride: output stride of the encoder. rate: dilation r of eq. 4.
    A tap r places off the centre falls inside a map of n places somewhere only if r < n.

    >>> live_taps(128, 16, 6), live_taps(128, 16, 12)
    (9, 1)
    """
    return 9 if rate < size // stride else 1


def fitting_rates(size: int, stride: int) -> tuple[int, int, int]:
    """Give three rates, 1 : 2 : 3, that reach over three quarters of the map.

    >>> fitting_rates(128, 16), fitting_rates(64, 16)
    ((2, 4, 6), (1, 2, 3))
    """
    unit = max(1, size // stride // 4)
    return unit, 2 * unit, 3 * unit


def dead_rates(size: int, stride: int, rates: Sequence[int]) -> list[int]:
    """List the rates of which only the centre tap ever sees a pixel."""
    return [rate for rate in rates if live_taps(size, stride, rate) < 9]
