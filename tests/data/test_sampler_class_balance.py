from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hep2gan.config import TrainingSettings
from hep2gan.data.sampler import (
    EpochBatchSampler,
    class_balanced_order,
)
from hep2gan.errors import Hep2ganError

quick = settings(max_examples=60, deadline=None)
# Three classes of 12, 6 and 2 cells; labels need not be 0, 1, 2.
LABEL = np.repeat([0, 4, 5], [12, 6, 2])
ROWS = np.arange(100, 120)
CLASS = dict(zip(ROWS.tolist(), LABEL.tolist(), strict=True))


def epoch_of(epoch, size=5, **given):
    sampler = EpochBatchSampler(ROWS, size, seed=3, training=True, label=LABEL, **given)
    sampler.set_epoch(epoch)
    requests = list(sampler)
    return [request.rows.tolist() for request in requests]


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_classes_come_equally_often_and_cells_in_turns(labels, seed):
    label, rows = np.array(labels), np.arange(len(labels)) * 3
    found = class_balanced_order(rows, label, np.random.default_rng(seed))
    assert len(found) == len(rows)
    number = dict(zip(rows.tolist(), labels, strict=True))
    classes = Counter(number[row] for row in found.tolist())
    assert classes.keys() == set(labels)
    assert max(classes.values()) - min(classes.values()) <= 1
    for k in classes:
        own = rows[label == k].tolist()
        served = [row for row in found.tolist() if number[row] == k]
        for start in range(0, len(served), len(own)):
            turn = served[start : start + len(own)]
            assert len(set(turn)) == len(turn)


def test_an_epoch_by_hand():
    served = [row for batch in epoch_of(0) for row in batch]
    assert len(served) == 20
    counts = Counter(CLASS[row] for row in served)
    assert sorted(counts.values()) == [6, 7, 7]
    cells = Counter(served)
    # The two cells of the rare class come three or four times each, the large one's at most once.
    assert {cells[row] for row in (118, 119)} <= {3, 4}
    assert max(cells[row] for row in range(100, 112)) == 1


def test_no_class_and_no_place_is_preferred():
    firsts, extras, twins = Counter(), Counter(), 0
    for epoch in range(600):
        served = [CLASS[row] for batch in epoch_of(epoch) for row in batch]
        firsts[served[0]] += 1
        twins += served[0] == served[1]
        # 20 = 3 · 6 + 2: one class comes six times, the others seven.
        extras[min(Counter(served).items(), key=lambda item: item[1])[0]] += 1
    # 200 expected of each; the standard deviation is 11.5.
    for counts in (firsts, extras):
        assert all(abs(counts[k] - 200) < 46 for k in (0, 4, 5)), counts
    # Sampled without order: (7·6 + 7·6 + 6·5) / (20·19) of the pairs are of one class.
    assert abs(twins - 180) < 45


def test_every_cell_of_a_large_class_comes_in_some_epoch():
    seen = {row for epoch in range(12) for batch in epoch_of(epoch) for row in batch}
    assert seen == set(ROWS.tolist())


def test_the_order_is_a_function_of_seed_and_epoch():
    assert epoch_of(1) == epoch_of(1) != epoch_of(2)
    other = EpochBatchSampler(ROWS, 5, seed=4, training=True, label=LABEL)
    other.set_epoch(1)
    assert [request.rows.tolist() for request in other] != epoch_of(1)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_see_the_batches_of_one(world):
    alone = epoch_of(2, size=6)
    ranks = [epoch_of(2, size=6, rank=r, world_size=world) for r in range(world)]
    assert len(alone) == 3
    for r, rank in enumerate(ranks):
        assert rank == [batch[r::world] for batch in alone]


def test_an_epoch_left_in_its_middle_goes_on_there():
    assert epoch_of(3, start=(3, 2)) == epoch_of(3)[2:]
    assert epoch_of(4, start=(3, 2)) == epoch_of(4)


def test_all_is_every_row_once_and_the_order_of_before():
    found = np.random.default_rng([1, 3, 2]).permutation(ROWS)
    assert sorted(found.tolist()) == ROWS.tolist()
    plain = EpochBatchSampler(ROWS, 5, seed=3, training=True)
    plain.set_epoch(2)
    assert [row for request in plain for row in request.rows.tolist()] == found.tolist()


@pytest.mark.parametrize("wrong", ["none", "Balanced", None, 1])
def test_other_samplings_are_refused(wrong):
    with pytest.raises(Hep2ganError, match=r"sampling is .*one of all, balanced"):
        TrainingSettings(sampling=wrong)
