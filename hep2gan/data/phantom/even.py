"""Patterns that fill the nucleus: homogeneous and speckled."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from hep2gan.data.phantom.nucleus import Image, Nucleus
from hep2gan.data.phantom.texture import holes, lognormal, random_field

JITTER = 0.2
"""Log-sd of a cell about its specimen."""


@dataclass(frozen=True)
class Homogeneous:
    """An even glow, slightly mottled; half the cells show faint nucleoli."""

    power: float
    mottle: float
    scale: float
    cytoplasm: float

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        return cls(
            power=rng.uniform(0.25, 0.55),
            mottle=rng.uniform(0.02, 0.10),
            scale=rng.uniform(2, 4),
            cytoplasm=rng.uniform(0, 0.15),
        )

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        field = random_field(rng, nucleus.shape, self.scale)
        body = nucleus.dome(self.power) * (1 + lognormal(rng, self.mottle, JITTER) * field)
        if rng.random() < 0.5:
            body *= holes(rng, nucleus, (0.05, 0.25))
        stain: Image = np.maximum(body, self.cytoplasm * haze(nucleus, 10))
        return stain


@dataclass(frozen=True)
class Speckled:
    """Grains all over the nucleus, fine or coarse, with dark nucleoli."""

    power: float
    contrast: float
    scale: float

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        power = rng.uniform(0.25, 0.55)
        if rng.random() < 0.5:
            return cls(power, contrast=rng.uniform(0.08, 0.22), scale=rng.uniform(0.8, 1.3))
        return cls(power, contrast=rng.uniform(0.20, 0.45), scale=rng.uniform(1.2, 2.2))

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        grains = np.clip(random_field(rng, nucleus.shape, self.scale), -2, 3.5)
        grains *= lognormal(rng, self.contrast, JITTER)
        body = nucleus.dome(self.power) * np.maximum(1 + grains, 0)
        return body * holes(rng, nucleus, (0.35, 0.9))


def haze(nucleus: Nucleus, reach: float) -> Image:
    """Cytoplasm (h, w): 1 up to the outline, then fading to e^-1 over `reach` px."""
    beyond = np.maximum(-nucleus.depth, 0) / np.float32(reach)
    fading: Image = np.exp(-beyond * beyond)
    return fading
