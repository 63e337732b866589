"""Of two ways to divide the same light into cells, the better one in each place."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hep2gan.data.fields.regions import Labels
from hep2gan.data.fields.shapes import measure_shapes

_OVERLAP = 0.3  # of the smaller cell, from which two cells are of one place
_ALONE = 0.92  # least fill of a cell that only one way finds
_FIRST = 0.01  # fill by which a later way must be better


def choose_proposals(proposals: Sequence[Labels]) -> Labels:
    """Choose in each place the cells that are more like ellipses.

    A place is what overlapping cells of different proposals cover. Cells that only one proposal has
    stay where they are like ellipses.

    Args:
        proposals: Label images of one shape, each numbered from 1 without gaps; where two are
            about as good, the first of them counts.

    Returns:
        int32 (h, w) label image.
    """
    shapes = [measure_shapes(labels, int(labels.max())) for labels in proposals]
    start = np.cumsum([0, *(len(each.area) for each in shapes)])
    number = int(start[-1])
    chosen = np.zeros(proposals[0].shape, np.int32)
    if not number:
        return chosen
    fill = np.concatenate([each.fill for each in shapes])
    area = np.concatenate([each.area for each in shapes])
    way = np.repeat(np.arange(len(proposals)), np.diff(start))
    pairs = _overlaps(proposals, start, area)
    links = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), (number, number))
    places, place = connected_components(links, directed=False)
    total = np.zeros((len(proposals), places))
    weighted = np.zeros_like(total)
    np.add.at(total, (way, place), area)
    np.add.at(weighted, (way, place), area * fill)
    score = np.where(total > 0, weighted / np.maximum(total, 1), -1)
    score -= _FIRST * np.arange(len(proposals))[:, None]
    is_alone = (total > 0).sum(axis=0) == 1
    is_best = (score.argmax(axis=0)[place] == way) & ~(is_alone[place] & (fill < _ALONE))
    # The most elliptic last: it covers what it shares with others.
    for cell in sorted(np.flatnonzero(is_best), key=lambda cell: fill[cell]):
        chosen[proposals[way[cell]] == cell - start[way[cell]] + 1] = cell + 1
    return np.asarray(np.unique(chosen, return_inverse=True)[1].reshape(chosen.shape), np.int32)


def _overlaps(proposals: Sequence[Labels], start: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of cells of different proposals that overlap, numbered over all."""
    found = [np.zeros((0, 2), np.int64)]
    for later in range(1, len(proposals)):
        for earlier in range(later):
            one, other = proposals[earlier].ravel(), proposals[later].ravel()
            both = (one > 0) & (other > 0)
            pairs, pixels = np.unique(
                np.stack([one[both], other[both]], axis=1), axis=0, return_counts=True
            )
            cells = pairs - 1 + start[[earlier, later]]
            found.append(cells[pixels > _OVERLAP * area[cells].min(axis=1)])
    return np.concatenate(found)
