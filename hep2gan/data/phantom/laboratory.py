"""Laboratories: what synthetic cells of one share, its microscope, camera and stain."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Image
from hep2gan.data.phantom.specimens import Specimen, specimen_generator

_WHITE = np.float32(254)
_RANGES = {
    "magnification": 1.3,
    "blur": 1.8,
    "gain": 3.0,
    "stain": 1.8,
    "background": 1.8,
    "gamma": 1.35,
}
"""Largest factor of each, up or down; the smallest is its square root."""


class Laboratory(NamedTuple):
    """Factors by which the pictures of a laboratory differ from those of laboratory 0.

    Attributes:
        number: Number of the laboratory.
        magnification: Pixels per micrometre.
        blur: Width of the blur in px, both parts.
        gain: Electrons per grey level: less of them is more noise.
        stain: Signal of the nuclei above the background.
        background: Level of the background.
        gamma: Exponent of the camera's curve, not a factor: grey = 254 (light / 254)^gamma.
    """

    number: int = 0
    magnification: float = 1.0
    blur: float = 1.0
    gain: float = 1.0
    stain: float = 1.0
    background: float = 1.0
    gamma: float = 1.0

    @classmethod
    def sample(cls, number: int) -> "Laboratory":
        """Return a laboratory: 0 changes nothing, each other number has factors of its own.

        Args:
            number: Number of the laboratory, 0 or more.

        Returns:
            The laboratory, the same one for a number whatever the cells are.
        """
        if number == 0:
            return FIRST_LAB
        rng = np.random.default_rng(np.random.SeedSequence(number))
        # At least half of the largest change, so that no laboratory is like the first by chance.
        factors = {
            name: float(most ** (rng.uniform(0.5, 1) * rng.choice([-1, 1])))
            for name, most in _RANGES.items()
        }
        return cls(number, **factors)

    def seed(self, seed: int) -> int:
        """Return the seed of its cells: other laboratories have other patients.

        Args:
            seed: Seed of the set.

        Returns:
            The same seed for laboratory 0, another one for each other.
        """
        if self.number == 0 or seed < 0:
            return seed
        return int(specimen_generator(seed, 6 + self.number).integers(2**32))

    def prepare(self, specimen: Specimen) -> Specimen:
        """Stain a specimen and put it under the microscope.

        Args:
            specimen: A specimen of laboratory 0.

        Returns:
            The specimen as this laboratory sees it.
        """
        return replace(
            specimen,
            level=specimen.level * self.stain,
            background=specimen.background * self.background,
            gain=specimen.gain * self.gain,
            sharp=specimen.sharp * self.blur,
            halo=specimen.halo * self.blur,
        )

    def magnify(
        self, light: Image, mask: npt.NDArray[np.bool_]
    ) -> tuple[Image, npt.NDArray[np.bool_]]:
        """Resize a scene to the pixels of this laboratory.

        Args:
            light: (h, w) light in grey levels.
            mask: (h, w) mask of the cell.

        Returns:
            Both at the new size.
        """
        if self.magnification == 1:
            return light, mask
        larger = ndimage.zoom(mask.astype(np.float32), self.magnification, order=1) > 0.5
        return ndimage.zoom(light, self.magnification, order=1), larger

    def unmagnified(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Compute how large a scene must be to fill a picture after `magnify`.

        Args:
            shape: (h, w) of the picture in px.

        Returns:
            (h, w) of the scene; a pixel or two more than needed, to be cut off.
        """
        if self.magnification == 1:
            return shape
        height, width = (int(np.ceil(side / self.magnification)) + 1 for side in shape)
        return height, width

    def develop(self, light: Image) -> Image:
        """Apply the camera's curve.

        Args:
            light: (h, w) light in grey levels.

        Returns:
            (h, w) grey levels before noise.
        """
        if self.gamma == 1:
            return light
        scaled = np.clip(light / _WHITE, 0, None) ** np.float32(self.gamma)
        return np.asarray(_WHITE * scaled, np.float32)


FIRST_LAB = Laboratory()
"""Laboratory 0, which changes nothing."""
