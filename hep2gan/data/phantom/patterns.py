"""The six staining patterns: what a specimen shares, and how one cell of it is rendered."""

from dataclasses import dataclass
from typing import Literal, Self, cast

import numpy as np

from hep2gan.data.phantom.nucleus import Image, Nucleus, Points
from hep2gan.data.phantom.texture import (
    blobs,
    lognormal,
    nucleoli_holes,
    random_field,
    sample_spaced_points,
)

JITTER = 0.2
"""Log-sd of a cell about its specimen."""
HALF_SPREAD = float(np.sqrt(0.5))
"""Splits the variance of an amplitude evenly between specimen and cell."""


@dataclass(frozen=True)
class Homogeneous:
    """Even fluorescence, slightly mottled; half the cells show faint nucleoli.

    Attributes:
        power: Exponent of the dome of the body.
        mottle: Standard deviation of the mottle.
        scale: Smoothness of the mottle in px.
        cytoplasm: Brightness of the cytoplasm.
    """

    power: float
    mottle: float
    scale: float
    cytoplasm: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
        return cls(
            power=rng.uniform(0.25, 0.55),
            mottle=rng.uniform(0.02, 0.10),
            scale=rng.uniform(2, 4),
            cytoplasm=rng.uniform(0, 0.15),
        )

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        field = random_field(rng, nucleus.shape, self.scale)
        body = nucleus.dome(self.power) * (1 + lognormal(rng, self.mottle, JITTER) * field)
        if rng.random() < 0.5:
            body *= nucleoli_holes(rng, nucleus, (0.05, 0.25))
        return cast(Image, np.maximum(body, self.cytoplasm * haze(nucleus, 10)))


@dataclass(frozen=True)
class Speckled:
    """Grains all over the nucleus, fine or coarse, with dark nucleoli.

    Attributes:
        power: Exponent of the dome of the body.
        contrast: Standard deviation of the grains.
        scale: Smoothness of the grains in px.
    """

    power: float
    contrast: float
    scale: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
        power = rng.uniform(0.25, 0.55)
        if rng.random() < 0.5:
            return cls(power, contrast=rng.uniform(0.08, 0.22), scale=rng.uniform(0.8, 1.3))
        return cls(power, contrast=rng.uniform(0.20, 0.45), scale=rng.uniform(1.2, 2.2))

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        grains = np.clip(random_field(rng, nucleus.shape, self.scale), -2, 3.5)
        grains *= lognormal(rng, self.contrast, JITTER)
        body = nucleus.dome(self.power) * np.maximum(1 + grains, 0)
        return body * nucleoli_holes(rng, nucleus, (0.35, 0.9))


@dataclass(frozen=True)
class Nucleolar:
    """One to six bright nucleoli on a weaker body: round, clumpy or dotted.

    Attributes:
        power: Exponent of the dome of the body.
        base: Brightness of the body.
        bright: Median brightness of the nucleoli.
        kind: Shape of the nucleoli.
    """

    power: float
    base: float
    bright: float
    kind: Literal["round", "clumpy", "dotted"]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
        kinds: tuple[Literal["round", "clumpy", "dotted"], ...] = ("round", "clumpy", "dotted")
        return cls(
            power=rng.uniform(0.25, 0.55),
            base=rng.uniform(0.1, 0.9),
            bright=lognormal(rng, 3.0, 0.8 * HALF_SPREAD),
            kind=kinds[rng.integers(3)],
        )

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        count = int(rng.integers(1, 7))
        centres = sample_spaced_points(rng, nucleus, count, rho=0.75, apart=8)
        centre, sigma = self._grains(rng, centres)
        height = lognormal(rng, self.bright, 0.8 * HALF_SPREAD) * np.exp(
            JITTER * rng.standard_normal(len(centre))
        )
        base = lognormal(rng, self.base, JITTER)
        return base * nucleus.dome(self.power) + blobs(nucleus.shape, centre, sigma, height)

    def _grains(self, rng: np.random.Generator, centres: Points) -> tuple[Points, Points]:
        """Sample centres (n, 2) and sigmas (n,) of the blobs that make up nucleoli at `centres`."""
        if self.kind == "round":
            return centres, rng.uniform(1.6, 3.6, len(centres))
        clumpy = self.kind == "clumpy"
        number = rng.integers(*((3, 7) if clumpy else (2, 6)), len(centres))
        spread = 1.6 if clumpy else 2.0
        centre = np.repeat(centres, number, axis=0)
        centre = centre + spread * np.clip(rng.standard_normal(centre.shape), -1.5, 1.5)
        return centre, rng.uniform(*((1.0, 1.8) if clumpy else (0.7, 1.1)), len(centre))


@dataclass(frozen=True)
class Centromere:
    """Eighteen to fifty-five small dots of similar brightness all over the nucleus.

    Attributes:
        power: Exponent of the dome of the body.
        base: Brightness of the body.
        bright: Median brightness of the dots.
        apart: Least distance between dots in px.
        sigma: Mean standard deviation of a dot in px.
    """

    power: float
    base: float
    bright: float
    apart: float
    sigma: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
        return cls(
            power=rng.uniform(0.25, 0.55),
            base=rng.uniform(0.15, 0.7),
            bright=lognormal(rng, 2.2, 0.5 * HALF_SPREAD),
            apart=rng.uniform(1.8, 3.0),
            sigma=rng.uniform(0.8, 1.15),
        )

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        count = int(rng.integers(18, 56))
        centre = sample_spaced_points(rng, nucleus, count, rho=0.88, apart=self.apart)
        sigma = np.clip(self.sigma + rng.uniform(-0.1, 0.1, len(centre)), 0.7, 1.25)
        height = lognormal(rng, self.bright, 0.5 * HALF_SPREAD) * np.exp(
            0.35 * rng.standard_normal(len(centre))
        )
        base = lognormal(rng, self.base, JITTER)
        return base * nucleus.dome(self.power) + blobs(nucleus.shape, centre, sigma, height)


@dataclass(frozen=True)
class NuclearMembrane:
    """A ring along the border, smooth or punctate, in a hazy cytoplasm.

    Attributes:
        body: Brightness of the body.
        power: Exponent of the dome of the body.
        ring: Median brightness of the ring.
        inset: Distance of the ring from the outline in px.
        width: Standard deviation of the ring's profile in px.
        punctate: Whether the ring is dotted.
        cytoplasm: Brightness of the cytoplasm relative to the body.
        reach: Width of the cytoplasm in px.
    """

    body: float
    power: float
    ring: float
    inset: float
    width: float
    punctate: bool
    cytoplasm: float
    reach: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
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

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        across = (nucleus.depth - np.float32(self.inset)) / np.float32(self.width)
        ring = np.exp(-0.5 * across * across) * np.float32(lognormal(rng, self.ring, JITTER))
        if self.punctate:
            ring *= np.maximum(1 + 0.6 * random_field(rng, nucleus.shape, 1.0), 0)
        body = self.body * (1.15 - 0.3 * nucleus.dome(self.power))
        around = self.body * self.cytoplasm * haze(nucleus, self.reach)
        return cast(Image, around + nucleus.inside * (body - around) + ring)


@dataclass(frozen=True)
class Golgi:
    """Granules outside the nucleus, gathered at one pole; the nucleus itself stays dim.

    Attributes:
        body: Brightness of the body.
        power: Exponent of the dome of the body.
        cytoplasm: Brightness of the cytoplasm relative to the body.
        reach: Width of the cytoplasm in px.
        bright: Median brightness of the granules.
    """

    body: float
    power: float
    cytoplasm: float
    reach: float
    bright: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample the stain of one specimen; see `Stain.sample`."""
        return cls(
            body=rng.uniform(0.5, 1.0),
            power=rng.uniform(0.25, 0.55),
            cytoplasm=rng.uniform(0.7, 1.0),
            reach=rng.uniform(9, 16),
            bright=lognormal(rng, 3.2, 0.9 * HALF_SPREAD),
        )

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell; see `Stain.render`."""
        body = self.body * (0.85 + 0.15 * nucleus.dome(self.power))
        around = self.body * self.cytoplasm * haze(nucleus, self.reach)
        return around + nucleus.inside * (body - around) + self._granules(nucleus, rng)

    def _granules(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        count = int(rng.integers(6, 26))
        arc = rng.uniform(0.5, 1.6)
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-arc, arc, count)
        centre = nucleus.points_at(angle, rng.uniform(1, 12, count))
        height = lognormal(rng, self.bright, 0.9 * HALF_SPREAD) * np.exp(
            0.5 * rng.standard_normal(count)
        )
        return blobs(nucleus.shape, centre, rng.uniform(0.8, 2.0, count), height)


def haze(nucleus: Nucleus, reach: float) -> Image:
    """Compute the cytoplasm: 1 up to the outline, then fading to e^-1 over a distance.

    Args:
        nucleus: The nucleus.
        reach: The distance in px.

    Returns:
        (h, w) values from 0 to 1.
    """
    beyond = np.maximum(-nucleus.depth, 0) / np.float32(reach)
    return cast(Image, np.exp(-beyond * beyond))
