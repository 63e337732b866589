"""Outlines of nuclei, and the coordinates in which staining patterns are rendered."""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_STEPS = 720
_ANGLES = np.arange(_STEPS) * (2 * np.pi / _STEPS)
_WOBBLE = np.array([0.020, 0.022, 0.012, 0.008])
_WAVES = np.stack([wave(k * _ANGLES) for wave in (np.cos, np.sin) for k in (2, 3, 4, 5)])
DIAMETER = (47.6, 0.095, 41.0, 70.0)
"""Equivalent diameter in px: median, log-sd, smallest, largest."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed star-shaped curve around its centre.

    Attributes:
        radius: (720,) distance of the curve from the centre in px, every half degree.
        diameter: Diameter in px of the circle of equal area.
    """

    radius: Image
    diameter: float

    @cached_property
    def tilt(self) -> Image:
        """(720,) cosine between the outward ray and the curve's normal."""
        slope = (np.roll(self.radius, -1) - np.roll(self.radius, 1)) * (_STEPS / (4 * np.pi))
        return cast(Image, 1 / np.sqrt(1 + (slope / self.radius) ** 2))

    @cached_property
    def reach(self) -> tuple[float, float]:
        """Greatest extent in px from the centre, along y and along x."""
        return (
            float(np.abs(self.radius * np.sin(_ANGLES)).max()),
            float(np.abs(self.radius * np.cos(_ANGLES)).max()),
        )

    def overlaps(self, other: "Outline", offset: tuple[float, float], gap: float = 1.5) -> bool:
        """Tell whether another outline touches this one.

        Args:
            other: The other outline.
            offset: (y, x) of its centre in px, relative to the centre of this one.
            gap: Distance in px below which they touch.

        Returns:
            Whether they touch.
        """
        return _intrudes(other, self, offset, gap) or _intrudes(
            self, other, (-offset[0], -offset[1]), gap
        )


def _direction(angle: Points | Image) -> npt.NDArray[np.intp]:
    """Return the index of the tabulated ray nearest each angle (radians)."""
    rays = np.rint(angle * (_STEPS / (2 * np.pi)))
    return cast(npt.NDArray[np.intp], rays.astype(np.intp) % _STEPS)


def _intrudes(moved: Outline, fixed: Outline, offset: tuple[float, float], gap: float) -> bool:
    """Tell whether a point of `moved`, shifted by `offset`, is inside `fixed` grown by `gap`."""
    every_eighth = slice(None, None, 8)
    y = offset[0] + moved.radius[every_eighth] * np.sin(_ANGLES[every_eighth])
    x = offset[1] + moved.radius[every_eighth] * np.cos(_ANGLES[every_eighth])
    radius = fixed.radius[_direction(np.arctan2(y, x))].astype(np.float64)
    return bool(np.any(np.hypot(y, x) < radius + gap))


def sample_outline(rng: np.random.Generator) -> Outline:
    """Sample an ellipse with perturbations of order 2 to 5, scaled to its equivalent diameter.

    Args:
        rng: Source of the random numbers.

    Returns:
        The outline.
    """
    middle, spread, smallest, largest = DIAMETER
    diameter = float(np.clip(middle * np.exp(spread * rng.standard_normal()), smallest, largest))
    ratio = float(np.clip(rng.normal(0.80, 0.066), 0.69, 0.98))
    return wobbly_ellipse(diameter, ratio, float(rng.uniform(0, np.pi)), rng)


def wobbly_ellipse(
    diameter: float, ratio: float, turned: float, rng: np.random.Generator
) -> Outline:
    """Sample the perturbations of an ellipse that is given otherwise.

    Args:
        diameter: Its equivalent diameter in px.
        ratio: Short over long axis, above 0 to 1.
        turned: Direction of the long axis in radians.
        rng: Source of the random numbers.

    Returns:
        The outline.
    """
    phase, size = rng.uniform(0, 2 * np.pi, 4), rng.standard_normal(4) * _WOBBLE
    wobble = np.concatenate([size * np.cos(phase), -size * np.sin(phase)]) @ _WAVES
    radius = (1 + wobble) / np.sqrt(1 - (1 - ratio**2) * np.cos(_ANGLES - turned) ** 2)
    area = 0.5 * float((radius**2).sum()) * (2 * np.pi / _STEPS)
    radius *= diameter / 2 * np.sqrt(np.pi / area)
    return Outline(radius.astype(np.float32), diameter)


class Nucleus:
    """A nucleus on a canvas, perhaps partly outside it.

    Args:
        outline: Its outline.
        centre: (y, x) of its centre in px.
        shape: (h, w) of the canvas in px.

    Attributes:
        rho: (h, w) distance from the centre over the radius there; 1 on the outline.
        depth: (h, w) distance in px from the outline, positive inside (first order in curvature).
        mask: (h, w) bool, true for pixel centres inside the outline.
    """

    def __init__(
        self, outline: Outline, centre: tuple[float, float], shape: tuple[int, int]
    ) -> None:
        self.outline, self.centre, self.shape = outline, centre, shape
        y = (np.arange(shape[0], dtype=np.float32) - np.float32(centre[0]))[:, None]
        x = (np.arange(shape[1], dtype=np.float32) - np.float32(centre[1]))[None, :]
        distance = np.sqrt(y * y + x * x)
        index = _direction(np.arctan2(y, x))
        radius = outline.radius[index]
        self.rho: Image = distance / radius
        self.depth: Image = (radius - distance) * outline.tilt[index]
        self.mask: npt.NDArray[np.bool_] = self.rho <= 1

    @cached_property
    def inside(self) -> Image:
        """(h, w) fraction of each pixel that is inside: the mask, antialiased."""
        return cast(Image, np.clip(self.depth + np.float32(0.5), 0, 1))

    def dome(self, power: float) -> Image:
        """Compute the brightness of an evenly stained body, (1 − ρ²)^power, 0 outside.

        Args:
            power: Exponent; the larger, the darker towards the outline.

        Returns:
            (h, w) values from 0 to 1.
        """
        base = np.maximum(1 - self.rho * self.rho, 0)
        return cast(Image, np.power(base, np.float32(power)))

    def points_at(self, angle: Points, outward: Points) -> Points:
        """Place points at given distances from the outline.

        Args:
            angle: (n,) directions from the centre in radians.
            outward: (n,) distances in px beyond the outline; negative inside it.

        Returns:
            (n, 2) points (y, x) in px of the canvas.
        """
        index = _direction(angle)
        radius = self.outline.radius[index] + outward / self.outline.tilt[index]
        return self._to_canvas(angle, np.maximum(radius, 0))

    def sample_points(self, rng: np.random.Generator, rho: float, count: int) -> Points:
        """Sample points uniformly over the area inside a normalised radius.

        Args:
            rng: Source of the random numbers.
            rho: The normalised radius; 1 is the outline.
            count: Number of points.

        Returns:
            (count, 2) points (y, x) in px of the canvas.
        """
        sectors = np.cumsum(self.outline.radius.astype(np.float64) ** 2)
        index = np.searchsorted(sectors, rng.random(count) * sectors[-1]).clip(max=_STEPS - 1)
        share = rho * np.sqrt(rng.random(count))
        return self._to_canvas(_ANGLES[index], self.outline.radius[index] * share)

    def _to_canvas(self, angle: Points, distance: Points) -> Points:
        return np.stack(
            [self.centre[0] + distance * np.sin(angle), self.centre[1] + distance * np.cos(angle)],
            axis=1,
        )
