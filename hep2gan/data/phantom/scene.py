"""One cell among its neighbours, and the microscope's picture of it: blur, noise, exposure."""

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Image, Nucleus, Outline, sample_outline
from hep2gan.data.phantom.patterns import JITTER
from hep2gan.data.phantom.specimens import Specimen
from hep2gan.data.phantom.texture import blobs, lognormal, random_field

BORDER = 10
"""Pixels left around the mask's bounding box, as in the real set."""
DEBRIS = 0.03
"""Clumps of debris in a crop."""
_MARGIN = 6  # rendered beyond the crop, so that the blur finds light there
_REACH = 24  # px beyond a nucleus where its stain has faded

_HALO = 0.15  # fraction of the light in the wide part of the blur
_READ_NOISE = 0.15  # grey levels
_WHITE = 254

Placed = tuple[Outline, tuple[float, float]]


class Scene(NamedTuple):
    """A rendered cell with its surroundings.

    Attributes:
        light: (h, w) light in grey levels.
        mask: (h, w) bool, mask of the cell.
    """

    light: Image
    mask: npt.NDArray[np.bool_]


def compose_scene(specimen: Specimen, rng: np.random.Generator) -> Scene:
    """Compose one cell of a specimen with its neighbours on an uneven background.

    Args:
        specimen: The specimen.
        rng: Source of the random numbers.

    Returns:
        The scene, before blur and noise.
    """
    nucleus = _sample_centred_nucleus(rng)
    stain = specimen.stain.render(nucleus, rng)
    unit = specimen.level / max(float(stain[nucleus.mask].mean()), 1e-6)
    signal = stain * np.float32(unit * lognormal(rng, 1, JITTER))
    for outline, offset in place_neighbours(nucleus.outline, rng.poisson(specimen.neighbours), rng):
        centre = (nucleus.centre[0] + offset[0], nucleus.centre[1] + offset[1])
        if not _is_visible(outline, centre, nucleus.shape):
            continue
        other = specimen.stain.render(Nucleus(outline, centre, nucleus.shape), rng)
        other *= np.float32(unit * lognormal(rng, 1, JITTER)) * (1 - nucleus.inside)
        signal = np.maximum(signal, other)
    if rng.random() < DEBRIS:
        signal = signal + sample_debris(nucleus.shape, specimen.level, rng)
    background = sample_background(specimen, nucleus.shape, rng)
    light = (background + signal) * _sample_illumination(nucleus.shape, rng)
    return Scene(light, nucleus.mask)


def _sample_centred_nucleus(rng: np.random.Generator) -> Nucleus:
    """Sample a nucleus at the centre of the smallest canvas for its crop and the margin."""
    outline = sample_outline(rng)
    half = [int(np.ceil(reach)) + BORDER + _MARGIN + 1 for reach in outline.reach]
    shift = rng.uniform(-0.5, 0.5, 2)
    shape = (2 * half[0] + 1, 2 * half[1] + 1)
    return Nucleus(outline, (half[0] + float(shift[0]), half[1] + float(shift[1])), shape)


def crop_around(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Compute the bounding box of a mask, grown by 10 px on each side.

    Args:
        mask: (h, w) bool.

    Returns:
        Rows and columns.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(int(rows[0]) - BORDER, int(rows[-1]) + BORDER + 1),
        slice(int(columns[0]) - BORDER, int(columns[-1]) + BORDER + 1),
    )


def place_neighbours(cell: Outline, count: int, rng: np.random.Generator) -> list[Placed]:
    """Sample outlines around a cell, none touching it or another.

    Args:
        cell: Outline of the cell.
        count: Number of outlines to try; those that find no room are left out.
        rng: Source of the random numbers.

    Returns:
        Each outline with the (y, x) of its centre in px, relative to that of the cell.
    """
    placed: list[Placed] = []
    for _ in range(count):
        outline = sample_outline(rng)
        for _ in range(12):
            offset = _sample_offset(cell, outline, rng)
            if not any(
                other.overlaps(outline, (offset[0] - at[0], offset[1] - at[1]))
                for other, at in placed
            ):
                placed.append((outline, offset))
                break
    return placed


def _sample_offset(
    cell: Outline, outline: Outline, rng: np.random.Generator
) -> tuple[float, float]:
    """Sample the offset of a centre at (D + D')/2 + |N(0, 7)| + 1 px, or farther if they touch."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = (cell.diameter + outline.diameter) / 2 + abs(rng.normal(0, 7)) + 1
    while True:
        offset = (float(distance * np.sin(angle)), float(distance * np.cos(angle)))
        if not cell.overlaps(outline, offset):
            return offset
        distance += 2


def _is_visible(outline: Outline, centre: tuple[float, float], shape: tuple[int, int]) -> bool:
    return all(
        -reach - _REACH < at < side + reach + _REACH
        for at, side, reach in zip(centre, shape, outline.reach, strict=True)
    )


def sample_background(
    specimen: Specimen, shape: tuple[int, int], rng: np.random.Generator
) -> Image:
    """Sample the mottled background of a specimen.

    Args:
        specimen: The specimen.
        shape: (h, w) in px.
        rng: Source of the random numbers.

    Returns:
        (h, w) light in grey levels.
    """
    mottle = 1 + np.float32(0.03) * random_field(rng, shape, 6)
    return specimen.background * mottle


def sample_debris(shape: tuple[int, int], level: float, rng: np.random.Generator) -> Image:
    """Render a clump of one to four bright grains at a random place.

    Args:
        shape: (h, w) in px.
        level: Mean signal of nuclei in grey levels.
        rng: Source of the random numbers.

    Returns:
        (h, w) light in grey levels.
    """
    count = int(rng.integers(1, 5))
    centre = rng.uniform(_MARGIN, np.array(shape) - _MARGIN) + rng.normal(0, 2, (count, 2))
    height = level * rng.lognormal(np.log(2), 0.5, count)
    return blobs(shape, centre, rng.uniform(0.8, 2.5, count), height)


def _sample_illumination(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Sample a linear gradient (h, w) of mean 1 and at most 12 % from darkest to brightest."""
    angle, change = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.12)
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    steepest = abs(np.sin(angle)) + abs(np.cos(angle))
    return 1 + np.float32(change / steepest) * (y + x)


def sample_defocus(rng: np.random.Generator) -> float:
    """Sample the extra blur of a cell: 10 % are slightly, 3 % badly out of focus.

    Args:
        rng: Source of the random numbers.

    Returns:
        Standard deviation in px: 1 to 2, 2 to 3.5, or 0 for all other cells.
    """
    chance = rng.random()
    if chance < 0.03:
        return float(rng.uniform(2, 3.5))
    return float(rng.uniform(1, 2)) if chance < 0.13 else 0.0


def blur(light: Image, *, sharp: float, halo: float, defocus: float) -> Image:
    """Blur by 0.85·Gauss(sharp) + 0.15·Gauss(halo), both widened by the defocus.

    Args:
        light: (h, w) light in grey levels.
        sharp: Standard deviation of the narrow part in px.
        halo: Standard deviation of the wide part in px.
        defocus: Standard deviation in px added to both in quadrature.

    Returns:
        (h, w) light in grey levels.
    """
    near = ndimage.gaussian_filter(light, np.hypot(sharp, defocus), truncate=3, mode="nearest")
    far = ndimage.gaussian_filter(light, np.hypot(halo, defocus), truncate=2.5, mode="nearest")
    return cast(Image, np.float32(1 - _HALO) * near + np.float32(_HALO) * far)


def expose(light: Image, gain: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Take the picture, with Poisson noise and read noise.

    Args:
        light: (h, w) light in grey levels.
        gain: Electrons per grey level.
        rng: Source of the random numbers.

    Returns:
        uint8 (h, w).
    """
    electrons = rng.poisson(light * np.float32(gain)).astype(np.float32)
    grey = electrons / np.float32(gain) + np.float32(_READ_NOISE) * rng.standard_normal(
        light.shape, dtype=np.float32
    )
    return np.clip(np.rint(grey), 0, _WHITE).astype(np.uint8)
