"""The microscope and its camera."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Image

_HALO = 0.15  # share of the light in the wide part of the blur
_READ_NOISE = 0.15  # grey levels
_WHITE = 254


def draw_defocus(rng: np.random.Generator) -> float:
    """Draw a cell's extra blur in px: 10 % slightly (1 to 2), 3 % badly (2 to 3.5) out of focus."""
    chance = rng.random()
    if chance < 0.03:
        return float(rng.uniform(2, 3.5))
    return float(rng.uniform(1, 2)) if chance < 0.13 else 0.0


def blur(light: Image, *, sharp: float, halo: float, defocus: float) -> Image:
    """Blur (h, w) by .85·Gauss(sharp) + .15·Gauss(halo), sigmas in px, widened by `defocus`."""
    near = ndimage.gaussian_filter(light, np.hypot(sharp, defocus), truncate=3, mode="nearest")
    far = ndimage.gaussian_filter(light, np.hypot(halo, defocus), truncate=2.5, mode="nearest")
    blurred: Image = np.float32(1 - _HALO) * near + np.float32(_HALO) * far
    return blurred


def expose(light: Image, gain: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Take the picture (h, w): Poisson noise at `gain` electrons per grey level, read noise."""
    electrons = rng.poisson(light * np.float32(gain)).astype(np.float32)
    grey = electrons / np.float32(gain) + np.float32(_READ_NOISE) * rng.standard_normal(
        light.shape, dtype=np.float32
    )
    return np.clip(np.rint(grey), 0, _WHITE).astype(np.uint8)
