"""Specimens: what the cells of one patient's slide share."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from hep2gan.data.grouping import largest_remainder
from hep2gan.data.patterns import COUNTS
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
_POSITIVE = 0.45  # fraction of the specimens with positive intensity
_NUMEM = 4  # label of the class with a specimen that can occur twice


class Stain(Protocol):
    """A staining pattern as one specimen shows it."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Sample what the cells of one specimen have in common.

        Args:
            rng: Source of the random numbers.

        Returns:
            The stain of the specimen.
        """

    def render(self, nucleus: Nucleus, rng: np.random.Generator) -> Image:
        """Render the stain of one cell.

        Args:
            nucleus: Nucleus of the cell.
            rng: Source of the random numbers.

        Returns:
            (h, w) light in arbitrary units.
        """


class _PatternSpec(NamedTuple):
    """Parameters of one class.

    Attributes:
        pattern: Its staining pattern.
        intermediate: Median signal of nuclei in specimens of intermediate intensity.
        positive: Median signal of nuclei in specimens of positive intensity.
        neighbours: Mean number of cells around a cell.
    """

    pattern: type[Stain]
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


@dataclass(frozen=True)
class Specimen:
    """One slide. Levels are in grey levels from 0 to 255, lengths in px.

    Attributes:
        key: (class, position in the class), the root of its cells' random numbers.
        intensity: 0 intermediate, 1 positive.
        level: Mean signal of nuclei above the background.
        background: Level of the background.
        gain: Electrons per grey level.
        sharp: Standard deviation of the narrow part of the blur.
        halo: Standard deviation of the wide part of the blur.
        neighbours: Mean number of cells around a cell.
        stain: How its cells are stained.
        number: Number of the specimen in the whole set, from 0.
        size: Its number of cells.
        first: Position of its first cell in the whole set.
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
    first: int = 0

    @property
    def label(self) -> int:
        """Class number 0..5."""
        return self.key[0]


def plan_specimens(
    count: int, seed: int, *, duplicate_specimen: bool = False, spread: float = 1.0
) -> list[Specimen]:
    """Plan the specimens of a set, sorted by class.

    The look of a specimen depends on the seed, its class and its position in the class, not on
    `count`.

    Args:
        count: Number of cells of the set, 1 or more.
        seed: Seed of the random numbers, 0 or more.
        duplicate_specimen: The third specimen of NuMem repeats the second cell by cell, as one does
            in the real set.
        spread: How far specimens differ in strength of stain and in optics, 0 to 4, as a multiple
            of the default.

    Returns:
        The specimens.

    Raises:
        Hep2ganError: A value is out of range, or `count` is too small for a duplicate specimen.
    """
    specimens: list[Specimen] = []
    for label, cells in enumerate(class_counts(count)):
        twins = duplicate_specimen and label == _NUMEM
        sampled = sample_class(seed, label, specimen_count(label, cells), spread)
        if twins and len(sampled) < 3:
            raise Hep2ganError(
                f"a specimen cannot occur twice among {count} synthetic cells",
                "NuMem needs three specimens for it",
                "generate 100 cells or more, or set duplicate_specimen to false",
            )
        if twins:
            sampled[2] = sampled[1]
        weights = np.exp(0.3 * specimen_generator(seed, label, 0).standard_normal(len(sampled)))
        sizes = specimen_sizes(cells, weights, twins=twins)
        for specimen, size in zip(sampled, sizes, strict=True):
            first = specimens[-1].first + specimens[-1].size if specimens else 0
            specimens.append(replace(specimen, number=len(specimens), size=size, first=first))
    return specimens


def sample_class(seed: int, label: int, number: int, spread: float) -> list[Specimen]:
    """Sample specimens of one class; the first ones do not depend on how many there are.

    Args:
        seed: Seed of the random numbers, 0 or more.
        label: The class, 0 to 5.
        number: Number of specimens.
        spread: See `plan_specimens`.

    Returns:
        The specimens, without number and cells.

    Raises:
        Hep2ganError: Seed or spread is out of range.
    """
    if not 0 <= spread <= 4:
        raise Hep2ganError(f"spread {spread}", "it must lie between 0 and 4", "choose 1")
    if seed < 0:
        raise Hep2ganError(f"seed {seed}", "seeds are 0 or above", "choose 0")
    # Systematic sampling: 45 % are positive, also in small classes.
    tally = np.floor(specimen_generator(seed, label).random() + _POSITIVE * np.arange(number + 1))
    return [
        _sample_specimen(
            specimen_generator(seed, label, 1, index), (label, index), int(positive), spread
        )
        for index, positive in enumerate(np.diff(tally))
    ]


def _sample_specimen(
    rng: np.random.Generator, key: tuple[int, int], positive: int, spread: float
) -> Specimen:
    spec = _PATTERN_SPECS[key[0]]
    background = lognormal(rng, 19.5, 0.13 * spread)
    return Specimen(
        key=key,
        intensity=positive,
        level=lognormal(rng, spec.positive if positive else spec.intermediate, 0.30 * spread),
        background=background * (rng.uniform(1, 1.5) if positive else 1),
        gain=max(rng.uniform(48 - 10 * spread, 48 + 10 * spread), 8.0),
        # Optics are as good as the best of the default, or worse.
        sharp=rng.uniform(0.6, 0.6 + 0.5 * spread),
        halo=rng.uniform(3, 3 + 3 * spread),
        neighbours=spec.neighbours,
        stain=spec.pattern.sample(rng),
    )


def specimen_generator(seed: int, *key: int) -> np.random.Generator:
    """Make a random generator that depends only on the seed and the key.

    Args:
        seed: Seed of the set.
        *key: Integers that tell generators apart.

    Returns:
        The generator.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def class_counts(count: int) -> list[int]:
    """Scale the 13,596 cells of the real set to another number.

    Args:
        count: Number of cells, 1 or more.

    Returns:
        Number of cells of each class.

    Raises:
        Hep2ganError: `count` is below 1.
    """
    if count < 1:
        raise Hep2ganError(f"{count} synthetic cells", "at least 1 is needed", "choose 1000")
    return list(map(int, largest_remainder(np.array(COUNTS), count, at_least_one=True)))


def specimen_count(label: int, cells: int) -> int:
    """Compute the number of specimens of a class: one per dozen cells, from 3 to the real number.

    Args:
        label: Class, 0 to 5.
        cells: Cells of the class.

    Returns:
        The number; less than 3 if there are fewer cells.
    """
    return min(SPECIMENS[label], max(min(3, cells), cells // 12))


def specimen_sizes(cells: int, weights: npt.NDArray[np.float64], *, twins: bool) -> list[int]:
    """Apportion the cells of a class to its specimens.

    Args:
        cells: Cells of the class.
        weights: (n,) relative sizes of its specimens.
        twins: Give the second and the third specimen the same number.

    Returns:
        Number of cells of each specimen.
    """
    if not cells:
        return []
    sizes: list[int] = largest_remainder(weights, cells, at_least_one=True).tolist()
    if twins:
        half, odd = divmod(sizes[1] + sizes[2], 2)
        sizes[1] = sizes[2] = half
        sizes[0] += odd
    return sizes
