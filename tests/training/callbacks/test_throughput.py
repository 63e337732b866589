"""Speed and memory, with a clock that is turned by hand."""

import re
from pathlib import Path

import lightning as L
import pytest
import torch

from hep2gan.training.callbacks import metrics
from hep2gan.training.callbacks.metrics import ThroughputMonitor, peak_memory_gib
from tests.helpers import tiny
from tests.training.test_module import Rows, fit


class Clock:
    """Every batch takes 2 s, loading one 1 s, a validation 100 s."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_an_epoch_by_hand(monkeypatch):
    clock, logger = Clock(), Rows()
    monkeypatch.setattr(metrics, "time", clock)
    task = tiny.task()
    train = task.training_step

    def slow(batch, batch_idx):
        train(batch, batch_idx)
        clock.now += 2

    task.training_step = slow

    class Late(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            clock.now += 1
            return tiny.batch(cells=(6, 6, 4)[index], seed=index)

    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=logger, callbacks=[ThroughputMonitor()],
        num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    task.on_validation_epoch_end_before = task.on_validation_epoch_end

    def long():
        clock.now += 100
        task.on_validation_epoch_end_before()

    task.on_validation_epoch_end = long
    loader = torch.utils.data.DataLoader(Late(), batch_size=None)
    held_out = torch.utils.data.DataLoader([tiny.batch()], batch_size=None)
    trainer.fit(task, loader, held_out)
    rows = [(step, row) for step, row in logger.rows if "speed/cells_per_second" in row]
    assert [(step, row["epoch"]) for step, row in rows] == [(2, 0), (5, 1)]
    for _, row in rows:
        # Lightning reads one batch ahead before the epoch begins, or not: 8 s or 9 s.
        assert row["speed/seconds_per_epoch"] in (8, 9)
        assert row["speed/cells_per_second"] == 16 / row["speed/seconds_per_epoch"]
        share = (row["speed/seconds_per_epoch"] - 6) / row["speed/seconds_per_epoch"]
        assert row["speed/share_waiting_for_data"] == pytest.approx(share)


def test_it_is_logged_before_the_checkpoint_and_needs_no_validation():
    logger = Rows()
    fit(
        tiny.task(),
        [tiny.batch(seed=s) for s in range(2)],
        callbacks=[ThroughputMonitor()],
        logger=logger,
    )
    (row,) = [row for _, row in logger.rows if "speed/memory_gib" in row]
    assert row["speed/cells_per_second"] > 0
    assert 0 <= row["speed/share_waiting_for_data"] <= 1


def test_memory_is_that_of_this_process():
    # The peak may stem from an earlier test: it is held against what the process has now.
    before = peak_memory_gib(torch.device("cpu"))
    held = torch.ones(2**26)
    status = Path("/proc/self/status").read_text()
    now = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 2**20
    after = peak_memory_gib(torch.device("cpu"))
    assert now > held.nbytes / 2**30
    assert max(before, 0.99 * now) <= after < 100


def test_memory_can_be_unknown(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    assert peak_memory_gib(torch.device("cpu")) is None


@pytest.mark.gpu
def test_memory_on_a_gpu_is_torchs():
    held = torch.ones(2**28, device="cuda")
    assert peak_memory_gib(held.device) >= 1
