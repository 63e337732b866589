import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hep2gan.data.batch import CellDataset, DeviceCells, RequestDataset
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.errors import Hep2ganError
from tests.helpers.made_store import made_store

quick = settings(max_examples=60, deadline=None)


def served(rows, batch_size, epoch=0, **given):
    sampler = EpochBatchSampler(rows, batch_size, **given)
    sampler.set_epoch(epoch)
    requests = list(sampler)
    assert len(requests) == len(sampler)
    return requests


def rows_of(requests):
    return [request.rows.tolist() for request in requests]


@quick
@given(
    st.integers(1, 60), st.integers(1, 4), st.integers(1, 5), st.integers(0, 9), st.integers(0, 9)
)
def test_ranks_together_see_the_batches_of_one(n, world, each, seed, epoch):
    rows, size = np.arange(100, 100 + n), world * each
    if n < size:
        return
    given = {"seed": seed, "epoch": epoch, "training": True}
    alone = served(rows, size, **given)
    ranks = [served(rows, size, rank=r, world_size=world, **given) for r in range(world)]
    assert len(alone) == n // size
    for k, whole in enumerate(alone):
        parts = [rank[k] for rank in ranks]
        assert [len(part.rows) for part in parts] == [each] * world
        union = torch.cat([part.rows for part in parts])
        assert sorted(union.tolist()) == sorted(whole.rows.tolist())
        for r, part in enumerate(parts):
            assert part.rows.tolist() == whole.rows[r::world].tolist()
            assert part.batch_seed == (seed, epoch, k, r, world, size)
    everything = [row for batch in rows_of(alone) for row in batch]
    assert len(set(everything)) == len(everything) == n // size * size


@quick
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 5))
def test_evaluation_serves_every_row_once_in_order(n, size, world):
    rows = np.arange(n) * 3
    alone = rows_of(served(rows, size, training=False))
    assert [row for batch in alone for row in batch] == rows.tolist()
    ranks = [served(rows, size, rank=r, world_size=world, training=False) for r in range(world)]
    # Whole batches of one rank alone, dealt out in turn.
    for r, rank in enumerate(ranks):
        assert rows_of(rank) == alone[r::world]
    assert all(len(request.rows) for rank in ranks for request in rank)
    assert all(request.batch_seed is None for rank in ranks for request in rank)


def test_an_epoch_left_in_its_middle_goes_on_there():
    rows = np.arange(23)
    sampler = EpochBatchSampler(rows, 5, seed=1, training=True, start=(3, 2))
    whole = EpochBatchSampler(rows, 5, seed=1, training=True)
    for epoch in (3, 4):
        sampler.set_epoch(epoch)
        whole.set_epoch(epoch)
        expected = list(whole)[2 if epoch == 3 else 0 :]
        assert rows_of(sampler) == rows_of(expected)
        assert [r.batch_seed for r in sampler] == [r.batch_seed for r in expected]
        assert len(sampler) == 4


def test_order_is_a_function_of_seed_and_epoch():
    rows = np.arange(50)
    sampler = EpochBatchSampler(rows, 5, seed=1, training=True)
    orders = []
    for epoch in (0, 1, 0, 1):
        sampler.set_epoch(epoch)
        orders.append(rows_of(sampler))
    assert orders[0] == orders[2] != orders[1] == orders[3]
    # As a resumed run does: a new sampler that never saw epoch 0.
    assert rows_of(served(rows, 5, epoch=1, seed=1, training=True)) == orders[1]
    assert rows_of(served(rows, 5, epoch=1, seed=2, training=True)) != orders[1]
    # Swapping seed and epoch is not the same order.
    assert rows_of(served(rows, 5, epoch=2, seed=1, training=True)) != rows_of(
        served(rows, 5, epoch=1, seed=2, training=True)
    )


def test_every_cell_can_come_first():
    firsts = {rows_of(served(np.arange(4), 1, e, training=True))[0][0] for e in range(60)}
    assert firsts == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"batch_size": 15, "world_size": 2, "training": True},
            "Batch size 15 is not divisible by 2 devices; choose a multiple of 2.",
        ),
        ({"batch_size": 30, "training": True}, "has 20 cells, the batch size is 30"),
        ({"batch_size": 0, "training": False}, "Batch size is 0"),
    ],
)
def test_errors(given, message):
    with pytest.raises(Hep2ganError) as error:
        EpochBatchSampler(np.arange(20), **given)
    assert message in str(error.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_cells_are_gathered_as_stored(workers):
    store = made_store(np.arange(30) % 3)
    sampler = EpochBatchSampler(np.arange(30)[::-1].copy(), 4, seed=5, training=True)
    loader = DataLoader(CellDataset(store), sampler=sampler, batch_size=None, num_workers=workers)
    batches = list(loader)
    assert len(batches) == 7
    for raw, request in zip(batches, sampler, strict=True):
        rows = request.rows.numpy()
        assert raw.rows.tolist() == rows.tolist()
        assert raw.batch_seed == request.batch_seed
        assert raw.image.dtype == raw.mask.dtype == torch.uint8
        assert np.array_equal(raw.image.numpy(), store.image[rows])
        assert np.array_equal(raw.mask.numpy(), store.mask[rows])
        assert np.array_equal(raw.levels.numpy(), store.levels[rows])
        assert np.array_equal(raw.label.numpy(), store.label[rows])


def test_resident_cells_are_the_same_cells():
    store = made_store(np.arange(30) % 3)
    sampler = EpochBatchSampler(np.arange(30), 7, training=True)
    resident = DeviceCells(store, torch.device("cpu"), chunk=8)
    bare = DataLoader(RequestDataset(), sampler=sampler, batch_size=None)
    gathered = DataLoader(CellDataset(store), sampler=sampler, batch_size=None)
    for request, raw in zip(bare, gathered, strict=True):
        found = resident.gather(request)
        assert found.batch_seed == raw.batch_seed
        for name in ("image", "levels", "mask", "label", "rows"):
            one, other = getattr(found, name), getattr(raw, name)
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_resident_copy_does_not_share_memory_with_the_store():
    store = made_store([0] * 4)
    resident = DeviceCells(store, torch.device("cpu"))
    before = resident.image.clone(), resident.label.clone()
    store.image[:], store.label[:] = 0, 7
    assert torch.equal(resident.image, before[0])
    assert torch.equal(resident.label, before[1])


def test_sampler_can_be_sent_to_another_process():
    sampler = EpochBatchSampler(np.arange(20), 4, seed=3, training=True)
    assert rows_of(pickle.loads(pickle.dumps(sampler))) == rows_of(sampler)


@pytest.mark.parametrize("balanced", [False, True])
def test_batches_of_halves_alternate_and_share_no_cell(balanced):
    rows, half = np.arange(100, 147), np.array([0] * 25 + [1] * 22)
    label = np.arange(47) % 3 if balanced else None
    sampler = EpochBatchSampler(rows, 5, training=True, half=half, label=label, start=(1, 3))
    assert len(sampler) == 8
    batches = [request.rows.numpy() - 100 for request in sampler]
    assert [set(half[batch]) for batch in batches] == [{0}, {1}] * 4
    if not balanced:
        assert len(np.unique(np.concatenate(batches))) == 40
    sampler.set_epoch(1)
    assert [set(half[request.rows.numpy() - 100]) for request in sampler] == [{1}, {0}] * 2 + [{1}]
    with pytest.raises(Hep2ganError, match="smaller half of the training part has 22 cells"):
        EpochBatchSampler(rows, 23, training=True, half=half)
