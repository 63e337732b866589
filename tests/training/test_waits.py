"""Waiting for loader workers and for other ranks: it ends, in words that name cause and fix."""

import errno
import os
import signal
import socket
from contextlib import suppress
from datetime import timedelta
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import Dataset

from hep2gan.config import TrainerSettings
from hep2gan.data.batch import BatchSeed, RawBatch, Request
from hep2gan.errors import Hep2ganError
from hep2gan.training import distributed, waits
from hep2gan.training.waits import LostRankError, WatchedLoader, explain_lost_processes

pytestmark = pytest.mark.integration


class Rows(Dataset):
    """Ten batches of one number; `act` is done in the worker before the fifth."""

    def __init__(self, act=lambda: None):
        self.act = act

    def __getitem__(self, row):
        if row == 4:
            self.act()
        return Request(torch.tensor([row]), None)


def load(act, workers=1):
    options = {"sampler": range(10), "batch_size": None, "collate_fn": lambda batch: batch}
    loader = WatchedLoader(Rows(act), workers, **options)
    return [int(batch.rows) for batch in loader]


def refuse():
    raise Hep2ganError("image.npy was truncated", "a store stays as it is", "pack it again")


def stop_the_whole_group():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.raise_signal(number)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order(workers):
    assert load(lambda: None, workers) == list(range(10))


def test_a_stop_that_reaches_the_workers_too_leaves_them_at_work():
    assert load(stop_the_whole_group) == list(range(10))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_worker_that_dies_is_told(number):
    with pytest.raises(Hep2ganError, match=r"worker of the loader is gone.*num_workers=0"):
        load(lambda: os.kill(os.getpid(), number))


def test_workers_that_stand_still_are_told_and_ended(monkeypatch):
    monkeypatch.setattr(waits, "LOADER_LIMIT", 1)
    with pytest.raises(Hep2ganError, match=r"gave no batch.*check the disk of the store"):
        load(lambda: os.kill(os.getpid(), signal.SIGSTOP))


def test_an_error_in_a_worker_is_told_as_it_is():
    with pytest.raises(Hep2ganError) as told:
        load(refuse)
    assert str(told.value) == (
        "image.npy was truncated: a store stays as it is. Fix: pack it again."
    )


def test_workers_that_cannot_start_are_told(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.multiprocessing.Queue", full)
    with pytest.raises(Hep2ganError, match=r"1 workers cannot start \(No space left.*/dev/shm"):
        load(lambda: None)


def test_batches_need_no_shared_memory(monkeypatch):
    def refused(*_):
        raise AssertionError("shared memory was asked for")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", refused)
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", refused)
    image = torch.randint(0, 255, (3, 16, 16), dtype=torch.uint8)
    rows, levels = torch.arange(3), torch.tensor([[0.0, 255.0]] * 3)
    seed = BatchSeed(1, 2, 3, 0, 1, 3)
    for batch in (Request(rows, seed), RawBatch(image, levels, image > 9, rows, rows, None)):
        back = ForkingPickler.loads(ForkingPickler.dumps(batch))
        assert type(back) is type(batch)
        for one, other in zip(batch, back, strict=True):
            assert one.equal(other) if isinstance(one, torch.Tensor) else one == other


def test_other_errors_stay(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as error, explain_lost_processes():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not isinstance(error.value, Hep2ganError)


@pytest.mark.parametrize(
    "text",
    [
        "[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2321",
        "[/gloo/transport/tcp/pair.cc:547] Read error [10.0.0.1]:35: Connection reset by peer",
        "[unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete",
    ],
)
def test_a_lost_rank_is_told(monkeypatch, text):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    words = r"another rank is gone.*the other ranks printed"
    with pytest.raises(LostRankError, match=words), explain_lost_processes():
        raise RuntimeError(text)


# ---------------------------------------------------------------------- ranks


@pytest.fixture
def alone(monkeypatch):
    """Ranks have a second to come; a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(distributed, "_TO_COME", timedelta(seconds=1))
    for name in ("TORCHELASTIC_USE_AGENT_STORE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_PORT", str(port))
    return port


@pytest.mark.parametrize(
    ("rank", "address", "why"),
    [
        ("0", "127.0.0.1", "1/2 clients joined"),
        ("1", "127.0.0.1", "timed out"),
        ("0", "", "MASTER_ADDR expected"),
    ],
)
def test_ranks_that_do_not_come_are_told(alone, monkeypatch, rank, address, why):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("MASTER_ADDR", address)
    with pytest.raises(Hep2ganError) as told:
        distributed.init_process_group(TrainerSettings(accelerator="cpu"))
    assert f"rank {rank} has not met all of 2 ranks at {address}:{alone} (" in told.value.fact
    assert why in told.value.fact
    assert "MASTER_ADDR and MASTER_PORT" in told.value.fix
    assert not dist.is_initialized()


@pytest.mark.parametrize(("answer", "begins"), [("begun", True), ("failed", False), (None, False)])
def test_ranks_wait_for_the_first_as_long_as_it_prepares(monkeypatch, answer, begins):
    store = dist.HashStore()
    monkeypatch.setattr(distributed, "_store", store)
    monkeypatch.setattr(distributed, "_TO_PREPARE", timedelta(seconds=0.1))
    if answer:
        with suppress(KeyError), distributed.rank_zero_first():
            assert not store.check([distributed._ANSWER])
            if not begins:
                raise KeyError
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    if begins:
        with distributed.rank_zero_first():
            return
    with pytest.raises(Hep2ganError) as told, distributed.rank_zero_first():
        pass
    words = "rank 0 could not begin" if answer else "rank 0 has not begun within"
    assert words in str(told.value)
