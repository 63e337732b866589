"""Groups of cells that a split must not cut: blocks, specimens, byte-identical duplicates."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = npt.NDArray[np.int64]

SMALLEST_BLOCK = 8
"""Cells a block should have; small classes get fewer blocks rather than smaller ones."""


def numbered(values: npt.NDArray[Any]) -> Rows:
    """(N,) numbers 0..G-1 of the distinct values, equal where the values are equal."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def duplicate_groups(digest: npt.NDArray[np.uint8]) -> Rows:
    """(N,) group numbers from (N, 16) digests: equal where cells are byte-identical."""
    width = digest.shape[1]
    return numbered(np.ascontiguousarray(digest).view(f"S{width}").reshape(-1))


def joined(first: Rows, second: Rows) -> Rows:
    """(N,) the finest groups that cut neither of two groupings: their connected components."""
    first, second = numbered(first), numbered(second)
    offset = int(first.max(initial=-1)) + 1
    nodes = offset + int(second.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(first), np.int8), (first, offset + second)), (nodes, nodes))
    components = connected_components(edges, directed=False)[1]
    return numbered(components[first])


def id_order(ids: npt.NDArray[np.str_]) -> Rows:
    """(N,) rows in id order, numbers inside ids counting as numbers: 2 before 10, c2 before c10."""
    if len(ids) and np.char.isdecimal(ids).all():
        return np.argsort(ids.astype(np.int64), kind="stable").astype(np.int64)
    keys = [_natural(str(name)) for name in ids]
    return np.asarray(sorted(range(len(ids)), key=keys.__getitem__), np.int64)


def block_groups(
    ids: npt.NDArray[np.str_], label: Rows, blocks_per_class: int, minimum: int
) -> Rows:
    """(N,) block numbers: the cells of a class, in id order, cut into contiguous blocks.

    A class has `blocks_per_class` blocks, or fewer where they would fall below
    `SMALLEST_BLOCK` cells, but `minimum` if it has that many cells. Ids of the ICPR 2016 set run
    contiguously by specimen, so long blocks stand in for the specimens it does not name.
    """
    group = np.empty(len(ids), np.int64)
    order = id_order(ids)
    blocks = 0
    for k in np.unique(label):
        rows = order[label[order] == k]
        wanted = min(blocks_per_class, len(rows) // SMALLEST_BLOCK)
        for block in np.array_split(rows, min(max(wanted, minimum), len(rows))):
            group[block] = blocks
            blocks += 1
    return group


def _natural(name: str) -> list[tuple[int, int, str]]:
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in pieces]
