"""Two methods on the same cells."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import Method, seed_order
from hep2gan.reports.tested import Tested, pooled
from hep2gan.statistics.confusion import summed_by
from hep2gan.statistics.significance import mcnemar, sign_flips

Integers = npt.NDArray[np.int64]

UNFOLDED = -1
"""Stands for the fold of a run without folds, which is no fold of another's."""


@dataclass(frozen=True)
class Pairs:
    """The same cells, in the same order, as two methods have them: one test set a seed.

    A cell tested under several seeds stands in several test sets and is still one cell.
    """

    first: tuple[Tested, ...]
    second: tuple[Tested, ...]

    @cached_property
    def each(self) -> Tested:
        """Every cell once, as the first method has it under the first seed."""
        return pooled(self.first)

    @property
    def cells(self) -> int:
        """How many different cells there are."""
        return len(self.each)

    @property
    def specimens(self) -> int:
        """How many there are; 0 where that of any cell is unknown."""
        return self.each.specimens

    def units(self, *, specimens: bool) -> list[npt.NDArray[Any]]:
        """A test set's (N,) specimens or ids: what is independent of each other."""
        return [tested.specimen if specimens else tested.id for tested in self.first]

    @cached_property
    def gained(self) -> Integers:
        """(N,) over all test sets: 1 where the first alone names the class right, -1 where the
        second alone, else 0."""
        one, other = (
            np.concatenate([_right(tested) for tested in side]).astype(np.int64)
            for side in (self.first, self.second)
        )
        return one - other

    @cached_property
    def discordant(self) -> tuple[int, int]:
        """Cells that the first names right under more seeds than the second, and the other way.

        With one seed they are those that one method alone names right.
        """
        by_cell = summed_by(self._joined("id"), self.gained)
        return int((by_cell > 0).sum()), int((by_cell < 0).sum())

    def p_cells(self) -> float:
        """Exact McNemar; of several seeds it is the sign test of the same cells."""
        return mcnemar(*self.discordant)

    def p_specimens(self) -> float | None:
        """Sign flips by specimen; None where specimens are unknown."""
        return self._p(self.gained) if self.specimens else None

    def p_mean_class_accuracy(self) -> float:
        """Sign flips of what each specimen, or each cell where they are unknown, adds to it."""
        label = self._joined("label")
        _, place, cells = np.unique(label, return_inverse=True, return_counts=True)
        return self._p(self.gained / cells[place])

    def _p(self, gained: npt.NDArray[Any]) -> float:
        unit = self._joined("specimen" if self.specimens else "id")
        return sign_flips(summed_by(unit, gained))

    def _joined(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(tested, name) for tested in self.first])


def paired(first: Method, second: Method, *, by_fold: bool = True) -> Pairs | str:
    """Pair cells that both methods test under the same seed and fold, or say why there are none.

    by_fold: False where two kinds of split deal the same cells to different folds.
    """
    ours, theirs = _parts(first, by_fold), _parts(second, by_fold)
    found: dict[str, list[tuple[Tested, Tested]]] = {}
    for key in sorted(ours.keys() & theirs.keys(), key=lambda k: (seed_order(k[0]), k[1])):
        one, other = ours[key], theirs[key]
        _, here, there = np.intersect1d(one.id, other.id, return_indices=True)
        if len(here):
            found.setdefault(key[0], []).append((one.rows(here), other.rows(there)))
    if not found:
        return "not paired: no cell is tested by both under the same seed" + " and fold" * by_fold
    if not all(_alike(*pair) for pairs in found.values() for pair in pairs):
        return "not paired: the same ids name different cells"
    return Pairs(_by_seed(found.values(), 0), _by_seed(found.values(), 1))


def _by_seed(found: Iterable[list[tuple[Tested, Tested]]], side: int) -> tuple[Tested, ...]:
    return tuple(pooled([pair[side] for pair in pairs]) for pairs in found)


def _right(cells: Tested) -> npt.NDArray[np.bool_]:
    if cells.predicted is None:
        raise Hep2ganError("one of two methods has no classifier", "right and wrong need classes")
    right: npt.NDArray[np.bool_] = cells.predicted == cells.label
    return right


def _alike(one: Tested, other: Tested) -> bool:
    same: list[tuple[Any, Any]] = [(one.label, other.label), (one.crop_size, other.crop_size)]
    return one.classes == other.classes and all(np.array_equal(a, b) for a, b in same)


def _parts(method: Method, by_fold: bool) -> dict[tuple[str, int], Tested]:
    if not by_fold:
        return {(seed, UNFOLDED): cells for seed, cells in method.tests.items()}
    found: dict[tuple[str, int], Tested] = {}
    for result in method.results:
        fold = UNFOLDED if result.run.fold is None else result.run.fold
        found.setdefault((result.run.seed, fold), result.cells)
    return found
