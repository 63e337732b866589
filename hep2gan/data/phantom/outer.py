"""Patterns at and beyond the nuclear border: nuclear membrane and Golgi."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from hep2gan.data.phantom.even import JITTER, haze
from hep2gan.data.phantom.nucleus import Image, Nucleus
from hep2gan.data.phantom.spotted import HALF
from hep2gan.data.phantom.texture import blobs, lognormal, random_field


@dataclass(frozen=True)
class NuclearMembrane:
    """A ring along the border, smooth or punctate, in a hazy cytoplasm."""

    body: float
    power: float
    ring: float
    inset: float
    width: float
    punctate: bool
    cytoplasm: float
    reach: float

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        return cls(
            body=rng.uniform(0.6, 0.9),
            power=rng.uniform(0.25, 0.55),
            ring=rng.uniform(0.2, 0.8),
            inset=rng.uniform(0, 1.5),
            width=rng.uniform(1.0, 2.2),
            punctate=bool(rng.random() < 0.3),
            cytoplasm=rng.uniform(0.3, 0.7),
            reach=rng.uniform(6, 14),
        )

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        across = (nucleus.depth - np.float32(self.inset)) / np.float32(self.width)
        ring = np.exp(-0.5 * across * across) * np.float32(lognormal(rng, self.ring, JITTER))
        if self.punctate:
            ring *= np.maximum(1 + 0.6 * random_field(rng, nucleus.shape, 1.0), 0)
        body = self.body * (1.15 - 0.3 * nucleus.dome(self.power))
        around = self.body * self.cytoplasm * haze(nucleus, self.reach)
        stain: Image = around + nucleus.inside * (body - around) + ring
        return stain


@dataclass(frozen=True)
class Golgi:
    """Granules outside the nucleus, gathered at one pole; the nucleus itself stays dull."""

    body: float
    power: float
    cytoplasm: float
    reach: float
    bright: float

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        return cls(
            body=rng.uniform(0.5, 1.0),
            power=rng.uniform(0.25, 0.55),
            cytoplasm=rng.uniform(0.7, 1.0),
            reach=rng.uniform(9, 16),
            bright=lognormal(rng, 3.2, 0.9 * HALF),
        )

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        body = self.body * (0.85 + 0.15 * nucleus.dome(self.power))
        around = self.body * self.cytoplasm * haze(nucleus, self.reach)
        return around + nucleus.inside * (body - around) + self._granules(nucleus, rng)

    def _granules(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        count = int(rng.integers(6, 26))
        arc = rng.uniform(0.5, 1.6)
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-arc, arc, count)
        centre = nucleus.place(angle, rng.uniform(1, 12, count))
        height = lognormal(rng, self.bright, 0.9 * HALF) * np.exp(0.5 * rng.standard_normal(count))
        return blobs(nucleus.shape, centre, rng.uniform(0.8, 2.0, count), height)
