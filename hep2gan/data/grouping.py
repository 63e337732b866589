"""Deal groups of cells to parts: no group cut, every class as near its quota as groups allow."""

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GroupCounts = npt.NDArray[np.int64]

TRIES = 64
"""Random dealings of which the most even is kept; fewer when there are thousands of groups."""


def largest_remainder(weights: npt.NDArray[np.float64] | GroupCounts, total: int) -> GroupCounts:
    """Integers in proportion to `weights` that add up to `total`, by largest remainder."""
    if total == 0:
        return np.zeros(len(weights), np.int64)
    exact = np.asarray(weights, np.float64) * (total / float(np.sum(weights)))
    floor = np.floor(exact + 1e-9).astype(np.int64)
    # Stable, so that equal remainders go to the earlier entry on every machine.
    order = np.argsort(-np.round(exact - floor, 9), kind="stable")
    floor[order[: total - int(floor.sum())]] += 1
    return floor


def fraction_quota(counts: GroupCounts, fraction: float) -> GroupCounts:
    """(2, K) cells of each class to keep and to take: 9:1 of 13,596 cells is 12,236 and 1,360.

    n − round((1 − fraction)·n) cells are taken over all classes, each class in proportion, but at
    least one cell from a class of two or more, so that every class is in both parts.
    """
    total = int(counts.sum())
    taken = largest_remainder(counts, total - round((1.0 - fraction) * total))
    taken = np.clip(taken, np.minimum(counts // 2, 1), counts - np.minimum(counts // 2, 1))
    return np.stack([counts - taken, taken])


def fold_quota(counts: GroupCounts, folds: int) -> GroupCounts:
    """(folds, K) cells of each class in each fold; classes and totals differ by one at most."""
    label = np.repeat(np.arange(len(counts)), counts)
    return np.stack([np.bincount(label[i::folds], minlength=len(counts)) for i in range(folds)])


def assign_groups(
    group: GroupCounts,
    label: GroupCounts,
    quota: GroupCounts,
    need: GroupCounts,
    rng: np.random.Generator,
) -> GroupCounts:
    """Deal every cell to a part, whole groups only.

    group, label: (N,) group and class of each cell. quota: (P, K) cells wanted. need: (P,) groups
    of every class a part must get while there are enough. Groups of several cells are dealt
    first, in random order, each to the part that then lies nearest its quota in every class and
    in total; of several such dealings the most even is kept (a fixed largest-first order would
    give the same test groups for every seed). Single cells then fill the quota exactly.

    Returns (N,) part numbers.
    """
    sizes = np.bincount(group)
    lumps = np.flatnonzero(sizes > 1)
    single = sizes[group] == 1
    table = np.zeros((len(lumps), quota.shape[1]), np.int64)
    place = np.searchsorted(lumps, group[~single])
    np.add.at(table, (place, label[~single]), 1)
    singles = np.bincount(label[single], minlength=quota.shape[1])
    lump_part, missing = _best_of_many_shuffles(table, singles, quota, need, rng)
    have = np.stack([table[lump_part == p].sum(0) for p in range(len(quota))])
    wanted = quota - have
    columns = [_fill(wanted[:, k], missing[:, k], n) for k, n in enumerate(singles.tolist())]
    fill = np.stack(columns, axis=1)
    _fill_empty(have, fill)
    part = np.empty(len(group), np.int64)
    part[~single] = lump_part[place]
    for k in np.flatnonzero(singles):
        rows = rng.permutation(np.flatnonzero(single & (label == k)))
        part[rows] = np.repeat(np.arange(len(quota)), fill[:, k])
    return part


def _fill(wanted: GroupCounts, missing: GroupCounts, cells: int) -> GroupCounts:
    """(P,) single cells for each part: what it must get, then what its quota still wants."""
    first = missing if missing.sum() <= cells else np.zeros_like(missing)
    return first + largest_remainder(np.maximum(wanted - first, 0), cells - int(first.sum()))


def _fill_empty(have: GroupCounts, fill: GroupCounts) -> None:
    """Give parts without any cell a single cell of the fullest part that can spare one."""
    for p in np.flatnonzero((have + fill).sum(1) == 0):
        total = (have + fill).sum(1)
        spare = (fill.sum(1) > 0) & (total > 1)
        if not spare.any():
            return
        donor = int(np.where(spare, total, 0).argmax())
        k = int(fill[donor].argmax())
        fill[donor, k] -= 1
        fill[p, k] += 1


def _best_of_many_shuffles(
    table: GroupCounts,
    singles: GroupCounts,
    quota: GroupCounts,
    need: GroupCounts,
    rng: np.random.Generator,
) -> tuple[GroupCounts, GroupCounts]:
    """The most even of several dealings: (L,) parts and (P, K) groups that parts still miss."""
    tries = min(max(20_000 // len(table), 1), TRIES) if len(table) else 1
    dealings = [_assign_large_groups(table, singles, quota, need, rng) for _ in range(tries)]
    return min(dealings, key=lambda dealing: dealing[2])[:2]


def _assign_large_groups(
    table: GroupCounts,
    singles: GroupCounts,
    quota: GroupCounts,
    need: GroupCounts,
    rng: np.random.Generator,
) -> tuple[GroupCounts, GroupCounts, float]:
    """One random dealing of (L, K) groups: parts, groups still missing, squared unevenness."""
    # A last column holds totals: classes alone would let two half-filled folds stand as even.
    amount = np.column_stack([table, table.sum(1)]).astype(np.float64)
    target = np.column_stack([quota, quota.sum(1)]).astype(np.float64)
    weight = 1.0 / np.maximum(target, 0.5)
    excess = -target
    has = amount > 0
    left = has.sum(0) + np.append(singles, singles.sum())
    missing = np.column_stack([np.tile(need[:, None], table.shape[1]), np.minimum(need, 1)])
    part = np.empty(len(table), np.int64)
    for g in rng.permutation(len(table)):
        cost = ((2 * excess + amount[g]) * amount[g] * weight).sum(1)
        # A part that would otherwise never see this class comes before an even one.
        urgent = (missing[:, has[g] & (left <= missing.sum(0))] > 0).sum(1)
        cost[urgent < urgent.max()] = np.inf
        part[g] = p = int(cost.argmin())
        excess[p] += amount[g]
        left -= has[g]
        missing[p, has[g]] = np.maximum(missing[p, has[g]] - 1, 0)
    return part, missing[:, :-1], float((excess**2 * weight).sum())


GroupIds = npt.NDArray[np.int64]

SMALLEST_BLOCK = 8
"""Cells a block should have; small classes get fewer blocks rather than smaller ones."""


def group_ids(values: npt.NDArray[Any]) -> GroupIds:
    """(N,) numbers 0..G-1 of the distinct values, equal where the values are equal."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def duplicate_groups(digest: npt.NDArray[np.uint8]) -> GroupIds:
    """(N,) group numbers from (N, 16) digests: equal where cells are byte-identical."""
    width = digest.shape[1]
    return group_ids(np.ascontiguousarray(digest).view(f"S{width}").reshape(-1))


def merge_groups(first: GroupIds, second: GroupIds) -> GroupIds:
    """(N,) the finest groups that cut neither of two groupings: their connected components."""
    first, second = group_ids(first), group_ids(second)
    offset = int(first.max(initial=-1)) + 1
    nodes = offset + int(second.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(first), np.int8), (first, offset + second)), (nodes, nodes))
    components = connected_components(edges, directed=False)[1]
    return group_ids(components[first])


def id_order(ids: npt.NDArray[np.str_]) -> GroupIds:
    """(N,) rows in id order, numbers inside ids counting as numbers: 2 before 10, c2 before c10."""
    if len(ids) and np.char.isdecimal(ids).all():
        return np.argsort(ids.astype(np.int64), kind="stable").astype(np.int64)
    keys = [_natural(str(name)) for name in ids]
    return np.asarray(sorted(range(len(ids)), key=keys.__getitem__), np.int64)


def block_groups(
    ids: npt.NDArray[np.str_], label: GroupIds, blocks_per_class: int, minimum: int
) -> GroupIds:
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
