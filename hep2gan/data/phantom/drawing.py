"""Drawn cells, one after the other."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.phantom.optics import blur, draw_defocus, expose
from hep2gan.data.phantom.scene import compose
from hep2gan.data.phantom.specimens import Specimen, plan_specimens, random_numbers

DRAWING_VERSION = 1
"""Raised whenever the same seed gives other pixels than before."""


class DrawnCell(NamedTuple):
    """A cell as the real set would hold it.

    id: five digits from 00001. image: (h, w) grey levels. mask: (h, w) of {0, 255}.
    label: class 0..5. specimen: number from 0. intensity: 0 intermediate, 1 positive.
    """

    id: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    label: int
    specimen: int
    intensity: int


def draw_cells(
    count: int, seed: int, *, duplicate_specimen: bool = False, spread: float = 1.0
) -> Iterator[DrawnCell]:
    """Draw `count` HEp-2 cells, ids sorted by class and contiguous by specimen.

    Classes come in the real set's proportions, specimens in its number or fewer. A cell's
    pixels depend on the seed, its specimen and its place there, never on the cells before it.
    `duplicate_specimen`, `spread` and errors, at the first cell, as in `plan_specimens`.
    """
    number = 0
    for specimen in plan_specimens(
        count, seed, duplicate_specimen=duplicate_specimen, spread=spread
    ):
        yield from draw_specimen(specimen, seed, range(specimen.size), number)
        number += specimen.size


def draw_specimen(specimen: Specimen, seed: int, places: range, before: int) -> Iterator[DrawnCell]:
    """Draw the cells at `places` of a specimen that `before` cells come before."""
    for place in places:
        image, mask = _draw(specimen, random_numbers(seed, *specimen.key, 2, place))
        yield DrawnCell(
            cell_id(before + place),
            image,
            mask,
            specimen.label,
            specimen.number,
            specimen.intensity,
        )


def cell_id(place: int) -> str:
    """Id of the cell at a place from 0 on: 00001 and so on."""
    return f"{place + 1:05d}"


def _draw(
    specimen: Specimen, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    scene = compose(specimen, rng)
    light = blur(scene.light, sharp=specimen.sharp, halo=specimen.halo, defocus=draw_defocus(rng))
    image = expose(np.ascontiguousarray(light[scene.crop]), specimen.gain, rng)
    return image, scene.mask[scene.crop].astype(np.uint8) * np.uint8(255)
