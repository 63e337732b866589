import numpy as np
import pytest

from hep2gan.statistics.significance import wilson
from hep2gan.statistics.specimens import CellVotes

P = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]], np.float32)


def test_votes_means_and_interval_by_hand():
    answer = CellVotes.of_cells(P[:3]).answer()
    assert (answer.cells, answer.counted) == (3, 3)
    assert (answer.by_majority, answer.by_probability) == (0, 0)
    assert answer.votes.tolist() == [2, 1]
    assert answer.share == pytest.approx([2 / 3, 1 / 3])
    assert answer.probability == pytest.approx([1.7 / 3, 1.3 / 3])
    assert answer.interval == wilson(2, 3)


def test_of_equal_votes_the_more_probable_class_wins():
    assert CellVotes.of_cells(P).answer().by_majority == 0
    assert CellVotes.of_cells(P[[2, 3, 1, 1]]).answer().by_majority == 1


def test_votes_and_means_may_differ():
    answer = CellVotes.of_cells(np.array([[0.51, 0.49], [0.51, 0.49], [0, 1]])).answer()
    assert (answer.by_majority, answer.by_probability) == (0, 1)


def test_flagged_cells_count_only_where_there_are_no_others():
    flagged = np.array([True, False, True, True])
    some = CellVotes.of_cells(P, flagged)
    assert (some.answer().cells, some.answer().counted) == (4, 1)
    assert some.answer().votes.tolist() == [1, 0]
    every = CellVotes.of_cells(P[2:], flagged[2:])
    assert every.answer().counted == 2
    assert every.answer().votes.tolist() == [0, 2]
    # In a specimen, those of the field without other cells count no longer.
    both = some.plus(every).answer()
    assert (both.cells, both.counted, both.votes.tolist()) == (6, 1, [1, 0])


def test_fields_add_up_to_their_specimen():
    whole, parts = CellVotes.of_cells(P), CellVotes.of_cells(P[:1]).plus(CellVotes.of_cells(P[1:]))
    for one, other in zip(whole.answer(), parts.answer(), strict=True):
        assert one == pytest.approx(other)


def test_without_cells_or_classes_there_is_no_answer():
    empty = CellVotes.of_cells(np.zeros((0, 3), np.float32)).answer()
    assert (empty.cells, empty.by_majority, empty.by_probability, empty.interval) == (
        0, None, None, None,
    )  # fmt: skip
    assert np.isnan(empty.share).all()
    unclassified = CellVotes.of_cells(np.zeros((5, 0), np.float32)).answer()
    assert (unclassified.cells, unclassified.counted, unclassified.by_majority) == (5, 5, None)
