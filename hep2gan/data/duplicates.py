"""Byte-identical cells, found by their digests."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.groups import duplicate_groups


class Duplicates(NamedTuple):
    """Groups of identical cells.

    rows: store rows of all cells that have a twin, groups one after another, each ascending.
    starts: where in `rows` each group begins. conflicting: (groups,) of bool, true where the
    cells of a group carry different labels.
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    conflicting: npt.NDArray[np.bool_]

    def groups(self) -> list[npt.NDArray[np.int64]]:
        """Return the rows of each group, ordered by its first cell."""
        return np.split(self.rows, self.starts[1:]) if len(self.starts) else []


def find_duplicates(digest: npt.NDArray[np.uint8], label: npt.NDArray[np.int64]) -> Duplicates:
    """Group equal rows of `digest` (N, 16); `label` (N,) tells which groups conflict."""
    group = duplicate_groups(digest)
    counts = np.bincount(group)
    rows = np.flatnonzero(counts[group] > 1)
    first = np.full(len(counts), len(group), np.int64)
    np.minimum.at(first, group[rows], rows)
    rows = rows[np.lexsort((rows, first[group[rows]]))]
    owner = group[rows]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    labels = np.asarray(label)[rows]
    differs = np.zeros(len(starts), np.bool_)
    if len(starts):
        differs = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    return Duplicates(rows, starts, differs)
