"""Two methods on the same cells."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.methods import Method, seed_order
from hep2gan.reports.tested import Tested, pooled
from hep2gan.statistics.confusions import summed_by
from hep2gan.statistics.paired import mcnemar, sign_flips


class Pairs(NamedTuple):
    """The same N cells, in the same order, as two methods have them."""

    first: Tested
    second: Tested

    @property
    def gained(self) -> npt.NDArray[np.int64]:
        """(N,) 1 where the first alone names the class right, -1 where the second alone, else 0."""
        one, other = (_right(cells).astype(np.int64) for cells in self)
        return one - other

    @property
    def discordant(self) -> tuple[int, int]:
        """Cells that the first alone, and that the second alone names right."""
        return int((self.gained > 0).sum()), int((self.gained < 0).sum())

    def p_cells(self) -> float:
        """Exact McNemar."""
        return mcnemar(*self.discordant)

    def p_specimens(self) -> float | None:
        """Sign flips by specimen; None where specimens are unknown."""
        if not self.first.specimens:
            return None
        return sign_flips(summed_by(self.first.specimen, self.gained))


def paired(first: Method, second: Method, *, by_fold: bool = True) -> Pairs | str:
    """Pair cells that both methods test under the same seed and fold, or say why there are none.

    A cell tested under several seeds counts once, at the first seed, so that pairs are independent.
    by_fold: False where two kinds of split deal the same cells to different folds.
    """
    ours, theirs = _parts(first, by_fold), _parts(second, by_fold)
    found = []
    for key in sorted(ours.keys() & theirs.keys(), key=lambda k: (seed_order(k[0]), k[1])):
        one, other = ours[key], theirs[key]
        _, here, there = np.intersect1d(one.id, other.id, return_indices=True)
        found.append(Pairs(one.rows(here), other.rows(there)))
    found = [pairs for pairs in found if len(pairs.first)]
    if not found:
        return "not paired: no cell is tested by both under the same seed" + " and fold" * by_fold
    if not all(_alike(pairs) for pairs in found):
        return "not paired: the same ids name different cells"
    first_cells, second_cells = zip(*found, strict=True)
    return Pairs(pooled(first_cells), pooled(second_cells))


def _right(cells: Tested) -> npt.NDArray[np.bool_]:
    if cells.predicted is None:
        raise Hep2ganError("one of two methods has no classifier", "right and wrong need classes")
    right: npt.NDArray[np.bool_] = cells.predicted == cells.label
    return right


def _alike(pairs: Pairs) -> bool:
    one, other = pairs
    same: list[tuple[Any, Any]] = [(one.label, other.label), (one.crop_size, other.crop_size)]
    return one.classes == other.classes and all(np.array_equal(a, b) for a, b in same)


def _parts(method: Method, by_fold: bool) -> dict[tuple[str, int], Tested]:
    if not by_fold:
        return {(seed, 0): cells for seed, cells in method.tests.items()}
    # The first of two equal runs.
    return {(r.run.seed, r.run.fold or 0): r.cells for r in reversed(method.results)}
