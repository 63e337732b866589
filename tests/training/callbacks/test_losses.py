"""Rows of losses and learning rates: values, batches, and over a stop within an epoch."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import latest_readable
from hep2gan.training import distributed
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint
from hep2gan.training.callbacks.metrics import LogLosses
from hep2gan.training.signals import RunStopped, SignalHandler
from tests.helpers import tiny
from tests.training.test_module import Rows, fit


def test_epoch_means_and_learning_rates_are_logged():
    task, logger = tiny.task(), Rows()
    fit(task, [tiny.batch(seed=s) for s in range(2)], logger=logger)
    steps = [row for _, row in logger.rows if "step/generator/l1" in row]
    ((step, means),) = [(step, row) for step, row in logger.rows if "train/generator/l1" in row]
    assert step == 1
    for name in ("discriminator/p_real", "generator/l1", "classifier/gaussian_mixture"):
        mean = sum(row[f"step/{name}"] for row in steps) / 2
        assert means[f"train/{name}"] == pytest.approx(mean, rel=1e-6)
    assert means["lr/classifier"] == pytest.approx(0.01)
    total = 0.5 * means["train/generator/adversarial"] + 10 * means["train/generator/l1"]
    assert means["train/generator/total"] == pytest.approx(total, rel=1e-5)


def test_losses_are_logged_once_every_few_batches_by_batch():
    task, logger = tiny.task(), Rows()
    batches = [tiny.batch(seed=s) for s in range(5)]
    fit(task, batches, epochs=2, logger=logger, log_every=2)
    rows = [(step, row) for step, row in logger.rows if "step/generator/l1" in row]
    assert [(step, row["epoch"]) for step, row in rows] == [(1, 0), (3, 0), (6, 1), (8, 1)]
    means = [row for _, row in logger.rows if "train/generator/l1" in row]
    assert [row["epoch"] for row in means] == [0, 1]


class StopAtThirdBatch(L.Callback):
    def __init__(self, stop):
        self.stop = stop

    def on_train_batch_start(self, trainer, task, batch, batch_idx):
        if batch_idx == 2:
            self.stop.signum = 15


def start(folder, batches, stops=False):
    """Train an epoch from the newest checkpoint, or until a stop; the task and its epoch's row."""
    task, logger, stop = tiny.task(), Rows(), SignalHandler()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=logger, plugins=[AtomicCheckpointIO()],
        callbacks=[
            *([StopAtThirdBatch(stop)] if stops else []),
            LogLosses(1), EpochCheckpoint(folder, stop=stop),
        ],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, DataLoader(batches, batch_size=None), ckpt_path=latest_readable(folder))
    return task, [row for _, row in logger.rows if "train/generator/l1" in row]


def test_a_stop_within_an_epoch_changes_no_bit(tmp_path):
    batches = [tiny.batch(seed=s) for s in range(5)]
    whole, rows = start(tmp_path / "whole", batches)
    with pytest.raises(RunStopped):
        start(tmp_path / "stopped", batches, stops=True)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["epoch0000_batch00003.ckpt"]
    # A run's own sampler leaves out the batches that are done.
    resumed, resumed_rows = start(tmp_path / "stopped", batches[3:])
    for (name, ours), theirs in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert rows == resumed_rows


def test_an_epoch_is_finished_with_as_many_ranks(tmp_path, monkeypatch):
    batches = [tiny.batch(seed=s) for s in range(5)]
    with pytest.raises(RunStopped):
        start(tmp_path, batches, stops=True)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(Hep2ganError, match=r"epoch of 1 ranks, now there are 2.*trainer\.devices"):
        start(tmp_path, batches[3:])
