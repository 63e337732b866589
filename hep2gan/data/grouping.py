"""Groups of cells that belong together, and their assignment to the parts of a split.

A group is never cut, and every class comes as near to its quota of each part as groups allow.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GroupIds = npt.NDArray[np.int64]
GroupCounts = npt.NDArray[np.int64]

SMALLEST_BLOCK = 8
"""Cells a block should have; small classes get fewer blocks rather than smaller ones."""
TRIES = 64
"""Random assignments of which the most even is kept; fewer when there are thousands of groups."""


def group_ids(values: npt.NDArray[Any]) -> GroupIds:
    """Number values 0 to G − 1, with equal numbers for equal values.

    Args:
        values: (N,) values of any type.

    Returns:
        (N,) numbers, in the order of the sorted values.
    """
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def duplicate_groups(digest: npt.NDArray[np.uint8]) -> GroupIds:
    """Number digests so that byte-identical cells have equal numbers.

    Args:
        digest: (N, 16) digests of the cells.

    Returns:
        (N,) numbers.
    """
    return group_ids(np.ascontiguousarray(digest).view(f"S{digest.shape[1]}").reshape(-1))


def merge_groups(first: GroupIds, second: GroupIds) -> GroupIds:
    """Merge two groupings into the finest one that splits no group of either.

    Its groups are the connected components of the graph whose edges are the cells.

    Args:
        first: (N,) groups of the cells.
        second: (N,) other groups of the cells.

    Returns:
        (N,) numbers of the merged groups.
    """
    first, second = group_ids(first), group_ids(second)
    offset = int(first.max(initial=-1)) + 1
    nodes = offset + int(second.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(first), np.int8), (first, offset + second)), (nodes, nodes))
    components = connected_components(edges, directed=False)[1]
    return group_ids(components[first])


def id_order(ids: npt.NDArray[np.str_]) -> GroupIds:
    """Sort ids; numbers inside ids are compared as numbers: 2 before 10, c2 before c10.

    Args:
        ids: (N,) names of the cells.

    Returns:
        (N,) positions in `ids`, in sorted order.
    """
    if len(ids) and np.char.isdecimal(ids).all():
        return np.argsort(ids.astype(np.int64), kind="stable").astype(np.int64)
    keys = [_natural_key(str(name)) for name in ids]
    return np.asarray(sorted(range(len(ids)), key=keys.__getitem__), np.int64)


def block_groups(
    ids: npt.NDArray[np.str_], label: GroupIds, blocks_per_class: int, minimum: int
) -> GroupIds:
    """Cut the cells of each class, in id order, into contiguous blocks.

    Ids of the ICPR 2016 set run contiguously by specimen, so long blocks approximate the specimens,
    which the set does not name.

    Args:
        ids: (N,) names of the cells.
        label: (N,) classes.
        blocks_per_class: Blocks per class, or fewer if they would have less than `SMALLEST_BLOCK`
            cells.
        minimum: Least number of blocks of a class that has that many cells.

    Returns:
        (N,) block numbers.
    """
    group = np.empty(len(ids), np.int64)
    order = id_order(ids)
    blocks = 0
    for k in np.unique(label):
        rows = order[label[order] == k]
        count = min(blocks_per_class, len(rows) // SMALLEST_BLOCK)
        for block in np.array_split(rows, min(max(count, minimum), len(rows))):
            group[block] = blocks
            blocks += 1
    return group


def beside(
    ids: npt.NDArray[np.str_], label: GroupIds, held: npt.NDArray[np.bool_], distance: int
) -> npt.NDArray[np.bool_]:
    """Find the cells whose place among the ids of their class is near a cell that is held out.

    Args:
        ids: (N,) names of the cells.
        label: (N,) classes.
        held: (N,) whether a cell is held out.
        distance: Most places between the two.

    Returns:
        (N,) whether a cell is near one, or is one.
    """
    near = np.zeros(len(ids), np.bool_)
    order = id_order(ids)
    for k in np.unique(label):
        rows = order[label[order] == k]
        near[rows] = maximum_filter1d(held[rows], 2 * distance + 1, mode="constant")
    return near


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(piece), "") if piece[0] in "0123456789" else (1, 0, piece)
        for piece in re.findall(r"[0-9]+|[^0-9]+", name)
    ]


class Duplicates(NamedTuple):
    """Groups of identical cells.

    Attributes:
        groups: Rows of the store in each group, ascending, in the order of their first cells.
        conflicting: (groups,) of bool, true if the cells of a group have different labels.
    """

    groups: list[npt.NDArray[np.int64]]
    conflicting: npt.NDArray[np.bool_]


def find_duplicates(digest: npt.NDArray[np.uint8], label: npt.NDArray[np.int64]) -> Duplicates:
    """Group cells that are byte-identical.

    Args:
        digest: (N, 16) digests of the cells.
        label: (N,) classes, which decide whether a group conflicts.

    Returns:
        The groups of two cells or more.
    """
    group = duplicate_groups(digest)
    first = np.unique(group, return_index=True)[1][group]
    rows = np.flatnonzero(np.bincount(group)[group] > 1)
    rows = rows[np.argsort(first[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(first[rows], prepend=-1))
    groups = np.split(rows, starts[1:]) if len(starts) else []
    return Duplicates(groups, np.array([len(set(label[one].tolist())) > 1 for one in groups], bool))


def largest_remainder(
    weights: npt.NDArray[np.float64] | GroupCounts, total: int, *, at_least_one: bool = False
) -> GroupCounts:
    """Apportion `total` in proportion to `weights` by the method of the largest remainder.

    >>> largest_remainder(np.array([6, 3, 0.1]), 10, at_least_one=True).tolist()
    [6, 3, 1]

    Args:
        weights: (K,), not negative and not all zero.
        total: Sum of the result.
        at_least_one: Give every entry at least one, if `total` suffices.

    Returns:
        (K,) integers that add up to `total`.
    """
    if total == 0:
        return np.zeros(len(weights), np.int64)
    exact = np.asarray(weights, np.float64) * (total / float(np.sum(weights)))
    counts = np.floor(exact + 1e-9).astype(np.int64)
    # Stable, so that equal remainders go to the earlier entry on every machine.
    order = np.argsort(-np.round(exact - counts, 9), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    while at_least_one and total >= len(counts) and counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts


def fraction_quota(counts: GroupCounts, fraction: float) -> GroupCounts:
    """Compute how many cells of each class to keep and to take.

    Of n cells in all, n − round((1 − fraction)·n) are taken, each class in proportion, but at least
    one cell from a class of two or more, so that every class is in both parts: a fraction of 0.1
    divides 13,596 cells into 12,236 and 1,360.

    Args:
        counts: (K,) cells of each class.
        fraction: Fraction of all cells to take.

    Returns:
        (2, K) cells to keep, and cells to take.
    """
    total = int(counts.sum())
    taken = largest_remainder(counts, total - round((1.0 - fraction) * total))
    taken = np.clip(taken, np.minimum(counts // 2, 1), counts - np.minimum(counts // 2, 1))
    return np.stack([counts - taken, taken])


def fold_quota(counts: GroupCounts, folds: int) -> GroupCounts:
    """Compute the number of cells of each class in each fold; folds differ by one at most.

    Args:
        counts: (K,) cells of each class.
        folds: Number of folds.

    Returns:
        (folds, K) cells.
    """
    label = np.repeat(np.arange(len(counts)), counts)
    return np.stack([np.bincount(label[i::folds], minlength=len(counts)) for i in range(folds)])


def assign_groups(
    group: GroupIds,
    label: GroupIds,
    quota: GroupCounts,
    minimum_groups: GroupCounts,
    rng: np.random.Generator,
) -> GroupIds:
    """Assign every cell to a part, whole groups only.

    Groups of several cells are assigned first, in random order, each to the part that is then
    nearest its quota in every class and in total; of several such assignments the most even is kept
    (a fixed largest-first order would give the same test groups for every seed). Single cells then
    fill the quota exactly.

    Args:
        group: (N,) group of each cell.
        label: (N,) class of each cell.
        quota: (P, K) cells of each class that each part should get.
        minimum_groups: (P,) least number of groups of every class in a part, while there are
            enough.
        rng: Source of the random orders.

    Returns:
        (N,) part numbers.
    """
    sizes = np.bincount(group)
    large = np.flatnonzero(sizes > 1)
    is_single = sizes[group] == 1
    large_index = np.searchsorted(large, group[~is_single])
    large_counts = np.zeros((len(large), quota.shape[1]), np.int64)
    np.add.at(large_counts, (large_index, label[~is_single]), 1)
    singles = np.bincount(label[is_single], minlength=quota.shape[1])
    tries = min(max(20_000 // len(large), 1), TRIES) if len(large) else 1
    assignments = [
        _assign_large_groups(large_counts, singles, quota, minimum_groups, rng)
        for _ in range(tries)
    ]
    large_part, missing, _ = min(assignments, key=lambda assignment: assignment[2])
    assigned = np.stack([large_counts[large_part == p].sum(0) for p in range(len(quota))])
    remaining = quota - assigned
    columns = [
        _singles_per_part(remaining[:, k], missing[:, k], n) for k, n in enumerate(singles.tolist())
    ]
    single_counts = np.stack(columns, axis=1)
    _fill_empty_parts(assigned, single_counts)
    part = np.empty(len(group), np.int64)
    part[~is_single] = large_part[large_index]
    for k in np.flatnonzero(singles):
        rows = rng.permutation(np.flatnonzero(is_single & (label == k)))
        part[rows] = np.repeat(np.arange(len(quota)), single_counts[:, k])
    return part


def _singles_per_part(remaining: GroupCounts, missing: GroupCounts, cells: int) -> GroupCounts:
    """Compute (P,) single cells per part: what it must get, then what its quota still allows."""
    first = missing if missing.sum() <= cells else np.zeros_like(missing)
    return first + largest_remainder(np.maximum(remaining - first, 0), cells - int(first.sum()))


def _fill_empty_parts(assigned: GroupCounts, single_counts: GroupCounts) -> None:
    """Give parts without any cell a single cell of the fullest part that can spare one."""
    for p in np.flatnonzero((assigned + single_counts).sum(1) == 0):
        total = (assigned + single_counts).sum(1)
        can_spare = (single_counts.sum(1) > 0) & (total > 1)
        if not can_spare.any():
            return
        donor = int(np.where(can_spare, total, 0).argmax())
        k = int(single_counts[donor].argmax())
        single_counts[donor, k] -= 1
        single_counts[p, k] += 1


def _assign_large_groups(
    counts: GroupCounts,
    singles: GroupCounts,
    quota: GroupCounts,
    minimum_groups: GroupCounts,
    rng: np.random.Generator,
) -> tuple[GroupIds, GroupCounts, float]:
    """Assign (L, K) groups once, in random order: parts, missing groups, squared unevenness."""
    # A last column holds totals: classes alone would let two half-filled folds count as even.
    amount = np.column_stack([counts, counts.sum(1)]).astype(np.float64)
    target = np.column_stack([quota, quota.sum(1)]).astype(np.float64)
    weight = 1.0 / np.maximum(target, 0.5)
    excess = -target
    has = amount > 0
    left = has.sum(0) + np.append(singles, singles.sum())
    missing = np.column_stack(
        [np.tile(minimum_groups[:, None], counts.shape[1]), np.minimum(minimum_groups, 1)]
    )
    part = np.empty(len(counts), np.int64)
    for g in rng.permutation(len(counts)):
        cost = ((2 * excess + amount[g]) * amount[g] * weight).sum(1)
        # A part that would otherwise never see this class comes before an even one.
        urgent = (missing[:, has[g] & (left <= missing.sum(0))] > 0).sum(1)
        cost[urgent < urgent.max()] = np.inf
        part[g] = p = int(cost.argmin())
        excess[p] += amount[g]
        left -= has[g]
        missing[p, has[g]] = np.maximum(missing[p, has[g]] - 1, 0)
    return part, missing[:, :-1], float((excess**2 * weight).sum())
