"""Patterns of bright spots inside the nucleus: nucleolar and centromere."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from hep2gan.data.phantom.even import JITTER
from hep2gan.data.phantom.nucleus import Image, Nucleus, Points
from hep2gan.data.phantom.texture import blobs, lognormal, spread_out

# An amplitude's spread is shared out evenly between specimen and cell: the sum is the recipe's.
HALF = float(np.sqrt(0.5))


@dataclass(frozen=True)
class Nucleolar:
    """One to six bright nucleoli on a weaker body: round, clumpy or dotted."""

    power: float
    base: float
    bright: float
    kind: Literal["round", "clumpy", "dotted"]

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        kinds: tuple[Literal["round", "clumpy", "dotted"], ...] = ("round", "clumpy", "dotted")
        return cls(
            power=rng.uniform(0.25, 0.55),
            base=rng.uniform(0.1, 0.9),
            bright=lognormal(rng, 3.0, 0.8 * HALF),
            kind=kinds[rng.integers(3)],
        )

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        count = int(rng.integers(1, 7))
        middle = spread_out(rng, nucleus, count, rho=0.75, apart=8)
        centre, sigma = self._grains(rng, middle)
        height = lognormal(rng, self.bright, 0.8 * HALF) * np.exp(
            JITTER * rng.standard_normal(len(centre))
        )
        base = lognormal(rng, self.base, JITTER)
        return base * nucleus.dome(self.power) + blobs(nucleus.shape, centre, sigma, height)

    def _grains(self, rng: np.random.Generator, middle: Points) -> tuple[Points, Points]:
        """Centres (n, 2) and sigmas (n,) of the blobs that nucleoli at `middle` are made of."""
        if self.kind == "round":
            return middle, rng.uniform(1.6, 3.6, len(middle))
        clumpy = self.kind == "clumpy"
        number = rng.integers(*((3, 7) if clumpy else (2, 6)), len(middle))
        spread = 1.6 if clumpy else 2.0
        centre = np.repeat(middle, number, axis=0)
        centre = centre + spread * np.clip(rng.standard_normal(centre.shape), -1.5, 1.5)
        return centre, rng.uniform(*((1.0, 1.8) if clumpy else (0.7, 1.1)), len(centre))


@dataclass(frozen=True)
class Centromere:
    """Eighteen to fifty-five small dots of like brightness all over the nucleus."""

    power: float
    base: float
    bright: float
    apart: float
    sigma: float

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> Self:
        """Draw what the cells of one specimen share."""
        return cls(
            power=rng.uniform(0.25, 0.55),
            base=rng.uniform(0.15, 0.7),
            bright=lognormal(rng, 2.2, 0.5 * HALF),
            apart=rng.uniform(1.8, 3.0),
            sigma=rng.uniform(0.8, 1.15),
        )

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""
        count = int(rng.integers(18, 56))
        centre = spread_out(rng, nucleus, count, rho=0.88, apart=self.apart)
        sigma = np.clip(self.sigma + rng.uniform(-0.1, 0.1, len(centre)), 0.7, 1.25)
        height = lognormal(rng, self.bright, 0.5 * HALF) * np.exp(
            0.35 * rng.standard_normal(len(centre))
        )
        base = lognormal(rng, self.base, JITTER)
        return base * nucleus.dome(self.power) + blobs(nucleus.shape, centre, sigma, height)
