"""Matches of found and true cells by hand, and against trying out all assignments."""

from itertools import permutations

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.instances import (
    Matches,
    Pair,
    average_precision,
    count_matches,
    f1_score,
    match_instances,
)


def row(*numbers):
    """A label image of one row: a pixel a number."""
    return np.array([numbers], np.int32)


def test_by_hand():
    """Cell 1 is found by 2 of 4 pixels (IoU 0.5), cell 5 by 3 of 4; 7 is missed, 9 is extra."""
    truth = row(1, 1, 1, 0, 5, 5, 5, 5, 0, 7, 0, 0)
    found = row(3, 3, 0, 0, 8, 8, 8, 0, 0, 0, 9, 9)
    matches = match_instances(truth, found, 0.5)
    assert matches.pairs == (Pair(1, 3, pytest.approx(2 / 3)), Pair(5, 8, pytest.approx(3 / 4)))
    assert [pair.dice for pair in matches.pairs] == pytest.approx([4 / 5, 6 / 7])
    assert (matches.missed, matches.extra) == ((7,), (9,))
    assert average_precision(matches) == pytest.approx(2 / 4)
    assert f1_score(matches) == pytest.approx(4 / 6)
    strict = match_instances(truth, found, 0.7)
    assert [pair.truth for pair in strict.pairs] == [5]
    assert (strict.missed, strict.extra) == ((1, 7), (3, 9))
    # All cells of all fields count alike.
    assert count_matches(matches, strict) == (3, 3, 3)
    assert average_precision(matches, strict) == pytest.approx(3 / 9)


def test_an_iou_equal_to_the_threshold_is_a_pair_and_none_is_matched_twice():
    """Both halves have an IoU of exactly 0.5 with the whole."""
    matches = match_instances(row(1, 1, 2, 2), row(4, 4, 4, 4), 0.5)
    assert len(matches.pairs) == len(matches.missed) == 1
    assert matches.extra == ()


def test_more_pairs_count_before_a_greater_iou():
    """2–7 alone has IoU 0.43, 1–7 and 2–8 together 0.25 and 0.36, which are two."""
    truth = row(1, 1, 1, 2, 2, 2, 2, 2, 2)
    found = row(0, 7, 7, 7, 7, 7, 8, 8, 8)
    alone = match_instances(truth, found, 0.3)
    assert [(pair.truth, pair.found) for pair in alone.pairs] == [(1, 7), (2, 8)]


def test_nothing_to_find():
    nothing = np.zeros((3, 4), np.int32)
    assert match_instances(nothing, nothing) == Matches((), (), ())
    assert average_precision(match_instances(nothing, nothing)) == 1
    assert average_precision() == f1_score() == 1
    cells = np.ones((3, 4), np.int32)
    assert average_precision(match_instances(nothing, cells)) == 0
    assert average_precision(match_instances(cells, nothing)) == 0


def test_cells_that_are_left_out():
    """Found ones on them are no mistakes: by IoU (3), or with most of their pixels (6), not 8."""
    truth = row(1, 1, 0, 2, 2, 2, 2, 2, 2, 0, 4, 4)
    found = row(3, 3, 0, 0, 6, 6, 0, 8, 8, 8, 8, 8)
    matches = match_instances(truth, found, 0.5, left_out={1, 2})
    assert matches.pairs == ()
    assert matches.left_out == (Pair(1, 3, 1.0),)
    assert (matches.missed, matches.extra) == ((4,), (8,))
    scored = match_instances(truth, found, 0.5)
    assert (scored.missed, scored.extra) == ((2, 4), (6, 8))


def test_what_is_refused():
    with pytest.raises(Hep2ganError, match=r"true labels are \(1, 2\), found ones \(1, 3\)"):
        match_instances(row(1, 1), row(1, 1, 1))
    with pytest.raises(Hep2ganError, match="threshold is 0"):
        match_instances(row(1), row(1), 0)


def brute_force(truth, found, threshold):
    """The number of pairs and sum of IoU of the best of all assignments."""
    ours, theirs = (np.unique(one[one > 0]) for one in (truth, found))
    iou = np.array(
        [
            [
                ((truth == a) & (found == b)).sum() / ((truth == a) | (found == b)).sum()
                for b in theirs
            ]
            for a in ours
        ]
    ).reshape(len(ours), len(theirs))
    if len(ours) > len(theirs):
        iou = iou.T
    best = (0, 0.0)
    for order in permutations(range(iou.shape[1]), iou.shape[0]):
        values = [iou[i, j] for i, j in enumerate(order) if iou[i, j] >= threshold]
        best = max(best, (len(values), sum(values)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_against_all_assignments(seed):
    random = np.random.default_rng(seed)
    for _ in range(15):
        truth, found = (
            np.kron(random.integers(0, 6, (3, 4)), np.ones((2, 2))).astype(np.int32)
            for _ in range(2)
        )
        # Neighbours differ little, so that many overlap in part.
        found = np.where(random.random(truth.shape) < 0.6, truth, found).astype(np.int32)
        for threshold in (0.1, 0.3, 0.5, 0.75):
            matches = match_instances(truth, found, threshold)
            count, total = brute_force(truth, found, threshold)
            assert len(matches.pairs) == count
            assert sum(pair.iou for pair in matches.pairs) == pytest.approx(total)
            paired = [pair.truth for pair in matches.pairs]
            assert sorted([*paired, *matches.missed]) == [n for n in np.unique(truth) if n]
            assert len({pair.found for pair in matches.pairs}) == count
