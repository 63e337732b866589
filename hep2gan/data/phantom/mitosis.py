"""Cells that divide: how each staining pattern shows them in metaphase.

The nucleus has dissolved: chromosomes lie in a plate across the rounded cell. Antibodies against
chromatin stain the plate; those against what the nucleus held otherwise stain the cell around it.
Source: the consensus on patterns (ICAP), AC-1, 3, 4/5, 8–10, 11/12 and 22.
"""

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from hep2gan.data.phantom.nucleus import DIAMETER, Image, Nucleus, Outline, wobbly_ellipse
from hep2gan.data.phantom.patterns import Centromere, Golgi, Homogeneous, Nucleolar
from hep2gan.data.phantom.specimens import Specimen
from hep2gan.data.phantom.texture import blobs, lognormal, random_field, sample_spaced_points


class MitoticCell(NamedTuple):
    """A rendered cell that divides.

    Attributes:
        stain: (h, w) light, 1 being the mean of a nucleus that does not divide.
        mask: (h, w) bool, what its stain fills: the plate of chromosomes, or the whole cell.
    """

    stain: Image
    mask: npt.NDArray[np.bool_]


def sample_round_outline(rng: np.random.Generator) -> Outline:
    """Sample the outline of a cell that divides: rounder than a nucleus, and a little larger.

    Args:
        rng: Source of the random numbers.

    Returns:
        The outline.
    """
    diameter = DIAMETER[0] * float(rng.uniform(1.0, 1.2))
    return wobbly_ellipse(diameter, float(rng.uniform(0.88, 1)), float(rng.uniform(0, np.pi)), rng)


def render_mitosis(specimen: Specimen, cell: Nucleus, rng: np.random.Generator) -> MitoticCell:
    """Render a cell in metaphase.

    Args:
        specimen: Its specimen.
        cell: The whole rounded cell.
        rng: Source of the random numbers.

    Returns:
        The cell.
    """
    length = cell.outline.diameter * float(rng.uniform(0.62, 0.78))
    ratio = float(rng.uniform(0.32, 0.48))
    outline = wobbly_ellipse(length * ratio**0.5, ratio, float(rng.uniform(0, np.pi)), rng)
    plate = Nucleus(outline, cell.centre, cell.shape)
    match specimen.stain:
        case Homogeneous():
            grain = 1 + 0.12 * random_field(rng, cell.shape, 1.5)
            return _stained_plate(cell, plate, plate.dome(0.3) * grain, lognormal(rng, 1.9, 0.15))
        case Centromere():
            return _stained_plate(cell, plate, _dots(plate, rng, (25, 46), 0.85), 1.6)
        case Nucleolar(kind="dotted"):
            return _stained_plate(cell, plate, _dots(plate, rng, (3, 8), 1.1), 1.2)
        case Nucleolar(kind="clumpy"):
            rim = np.exp(-0.5 * (plate.depth / np.float32(1.6)) ** 2)
            return _stained_plate(cell, plate, rim, 1.3)
        case Golgi():
            fragments = _dots(cell, rng, (14, 30), 1.2)
            return _dark_plate(cell, plate, 0.6 + 2.0 * fragments, 1.0)
        case _:
            # Speckles, nuclear envelope and round nucleoli: dispersed over the cell.
            grain = 1 + 0.15 * random_field(rng, cell.shape, 1.2)
            return _dark_plate(cell, plate, grain, lognormal(rng, 0.75, 0.1))


def _stained_plate(cell: Nucleus, plate: Nucleus, stain: Image, level: float) -> MitoticCell:
    faint = np.float32(0.10) * cell.dome(0.5)
    unit = level / max(float(stain[plate.mask].mean()), 1e-6)
    return MitoticCell(cast(Image, np.maximum(np.float32(unit) * stain, faint)), plate.mask)


def _dark_plate(cell: Nucleus, plate: Nucleus, stain: Image, level: float) -> MitoticCell:
    around = cell.dome(0.25) * stain
    unit = level / max(float(around[cell.mask].mean()), 1e-6)
    return MitoticCell(np.float32(unit) * around * (1 - np.float32(0.75) * plate.inside), cell.mask)


def _dots(nucleus: Nucleus, rng: np.random.Generator, number: tuple[int, int], sd: float) -> Image:
    """Render dots all over a nucleus or plate, of height 1 on average."""
    count = int(rng.integers(*number))
    centre = sample_spaced_points(rng, nucleus, count, rho=0.92, apart=1.8)
    height = np.exp(0.3 * rng.standard_normal(len(centre)))
    return blobs(nucleus.shape, centre, sd * rng.uniform(0.9, 1.1, len(centre)), height)
