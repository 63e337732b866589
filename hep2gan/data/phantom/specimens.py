"""Specimens: what the cells of one patient's slide share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from hep2gan.data.grouping import largest_remainder
from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom.nucleus import Image, Nucleus
from hep2gan.data.phantom.patterns import (
    Centromere,
    Golgi,
    Homogeneous,
    NuclearMembrane,
    Nucleolar,
    Speckled,
)
from hep2gan.data.phantom.texture import lognormal
from hep2gan.errors import Hep2ganError

SPECIMENS = (16, 16, 16, 16, 15, 4)
"""Specimens per class in the real set."""


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Share `total` out by largest remainder; everyone gets one where there are enough.

    >>> apportion(10, [6, 3, 0.1])
    [6, 3, 1]
    """
    counts = largest_remainder(np.asarray(weights, np.float64), total)
    while total >= len(counts) and counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return [int(count) for count in counts]


def class_counts(count: int) -> list[int]:
    """Cells per class when the real set's 13,596 are scaled to `count`.

    Raises Hep2ganError when `count` is below 1.
    """
    if count < 1:
        raise Hep2ganError(f"{count} drawn cells", "at least 1 is needed", "choose 1000, say")
    return apportion(count, [pattern.count for pattern in ICPR2016])


def specimen_count(label: int, cells: int) -> int:
    """Specimens of a class with so many cells: a dozen cells each, from 3 up to the real number."""
    return min(SPECIMENS[label], max(min(3, cells), cells // 12))


def specimen_sizes(cells: int, weights: Sequence[float], *, twins: bool) -> list[int]:
    """Cells of each specimen of a class; with `twins` the second and the third get equally many."""
    if not cells:
        return []
    sizes = apportion(cells, weights)
    if twins:
        half, odd = divmod(sizes[1] + sizes[2], 2)
        sizes[1] = sizes[2] = half
        sizes[0] += odd
    return sizes


class Stain(Protocol):
    """A staining pattern as one specimen shows it."""

    def draw(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Draw the stain (h, w) of one cell, in arbitrary units."""


class _Recipe(Protocol):
    def of_specimen(self, rng: np.random.Generator) -> Stain: ...


class _PatternSpec(NamedTuple):
    """One class: its pattern, its median nuclear signal and the mean number of neighbours."""

    stain: _Recipe
    intermediate: float
    positive: float
    neighbours: float = 1.1


_PATTERN_SPECS = (
    _PatternSpec(Homogeneous, 7.5, 36),
    _PatternSpec(Speckled, 8.5, 50),
    _PatternSpec(Nucleolar, 4.5, 24),
    _PatternSpec(Centromere, 7.5, 27),
    _PatternSpec(NuclearMembrane, 5, 11, neighbours=2.0),
    _PatternSpec(Golgi, 5, 20, neighbours=1.6),
)
_POSITIVE = 0.45
_NUMEM = 4


@dataclass(frozen=True)
class Specimen:
    """One slide. Levels are grey levels of 0..255, lengths px.

    key: (class, place in the class), the root of its cells' random numbers.
    number: specimen number over the whole set. size: cells drawn from it.
    intensity: 0 intermediate, 1 positive. level: mean nuclear signal over background.
    gain: electrons per grey level. sharp, halo: sigmas of the two parts of the blur.
    neighbours: mean number of cells around a cell.
    """

    key: tuple[int, int]
    intensity: int
    level: float
    background: float
    gain: float
    sharp: float
    halo: float
    neighbours: float
    stain: Stain
    number: int = 0
    size: int = 0

    @property
    def label(self) -> int:
        """Class number 0..5."""
        return self.key[0]


def specimen_generator(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but the seed and the key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def plan_specimens(
    count: int, seed: int, *, duplicate_specimen: bool = False, spread: float = 1.0
) -> list[Specimen]:
    """Draw the specimens of a set of `count` cells, sorted by class.

    A specimen's look depends on the seed, its class and its place in the class, not on `count`.
    `duplicate_specimen`: the third specimen of NuMem repeats the second cell by cell, as one
    does in the real set. `spread`: how far specimens differ in strength of stain and in optics,
    as a multiple of the recipe's. Raises Hep2ganError when `count` is below 1, or too small for
    that, for a negative seed and for a spread outside 0 to 4.
    """
    if not 0 <= spread <= 4:
        raise Hep2ganError(f"spread {spread}", "it must lie between 0 and 4", "choose 1, say")
    if seed < 0:
        raise Hep2ganError(f"seed {seed}", "seeds are 0 or above", "choose 0, say")
    specimens: list[Specimen] = []
    for label, cells in enumerate(class_counts(count)):
        twins = duplicate_specimen and label == _NUMEM
        drawn = _sample_class(seed, label, specimen_count(label, cells), spread)
        if twins and len(drawn) < 3:
            raise Hep2ganError(
                f"a specimen can't occur twice among {count} drawn cells",
                "NuMem needs three specimens for it",
                "draw 100 cells or more, or set duplicate_specimen to false",
            )
        if twins:
            drawn[2] = drawn[1]
        weights = np.exp(0.3 * specimen_generator(seed, label, 0).standard_normal(len(drawn)))
        for specimen, size in zip(
            drawn, specimen_sizes(cells, weights.tolist(), twins=twins), strict=True
        ):
            specimens.append(replace(specimen, number=len(specimens), size=size))
    return specimens


def _sample_class(seed: int, label: int, number: int, spread: float) -> list[Specimen]:
    # Systematic sampling: 45 % are positive, and every class has its share even when small.
    start = specimen_generator(seed, label).random()
    tally = np.floor(start + _POSITIVE * np.arange(number + 1))
    return [
        _sample_specimen(
            specimen_generator(seed, label, 1, place), (label, place), int(positive), spread
        )
        for place, positive in enumerate(np.diff(tally))
    ]


def _sample_specimen(
    rng: np.random.Generator, key: tuple[int, int], positive: int, spread: float
) -> Specimen:
    kind = _PATTERN_SPECS[key[0]]
    background = lognormal(rng, 19.5, 0.13 * spread)
    return Specimen(
        key=key,
        intensity=positive,
        level=lognormal(rng, kind.positive if positive else kind.intermediate, 0.30 * spread),
        background=background * (rng.uniform(1, 1.5) if positive else 1),
        gain=max(rng.uniform(48 - 10 * spread, 48 + 10 * spread), 8.0),
        # Optics are as good as the recipe's best, or worse.
        sharp=rng.uniform(0.6, 0.6 + 0.5 * spread),
        halo=rng.uniform(3, 3 + 3 * spread),
        neighbours=kind.neighbours,
        stain=kind.stain.of_specimen(rng),
    )
