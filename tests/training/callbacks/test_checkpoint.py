import pickle

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import latest_readable, load_best_or_latest, read_checkpoint
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint, SeedEachBatch
from tests.helpers import tiny
from tests.helpers.full_disk import divert, needs_full_device


def fit(folder, epochs, monitor=None, values=()):
    class Report(L.Callback):
        def on_train_epoch_end(self, trainer, task):
            if values:
                task.log("val/f1", values[trainer.current_epoch])

    checkpoint = EpochCheckpoint(folder, monitor)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[Report(), checkpoint],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    newest = latest_readable(folder)
    trainer.fit(tiny.task(), DataLoader([tiny.batch()], batch_size=None), ckpt_path=newest)


def test_two_newest_epochs_are_kept(tmp_path):
    fit(tmp_path, 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch0003.ckpt", "epoch0004.ckpt"]
    chosen, content = load_best_or_latest(tmp_path)
    assert chosen.name == "epoch0004.ckpt"
    assert content["epoch"] == 3


def test_the_best_epoch_is_kept_and_chosen(tmp_path):
    fit(tmp_path, 3, "val/f1", [0.2, 0.9, 0.5])
    chosen, content = load_best_or_latest(tmp_path)
    assert chosen.name == "best.ckpt"
    assert content["epoch"] == 1


def test_a_resumed_run_remembers_its_best(tmp_path):
    fit(tmp_path, 2, "val/f1", [0.2, 0.9])
    fit(tmp_path, 4, "val/f1", [0.0, 0.0, 0.5, 0.6])
    assert read_checkpoint(tmp_path / "best.ckpt")["epoch"] == 1


def test_a_damaged_newest_checkpoint_is_reported_and_the_older_used(tmp_path, caplog):
    fit(tmp_path, 2)
    newest = tmp_path / "epoch0002.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert latest_readable(tmp_path) == tmp_path / "epoch0001.ckpt"
    (told,) = [text for text in caplog.messages if "epoch0002.ckpt cannot be loaded" in text]
    assert told.endswith("Falling back to the one before.")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"state_dict": 1})])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(Hep2ganError, match=r"x.ckpt"):
        read_checkpoint(path)
    with pytest.raises(Hep2ganError, match="does not exist"):
        read_checkpoint(tmp_path / "y.ckpt")


def test_checkpoints_run_no_code(tmp_path):
    marker = tmp_path / "marker"

    class Touch:
        def __reduce__(self):
            return open, (str(marker), "w")

    torch.save({"state_dict": {}, "x": Touch()}, tmp_path / "x.ckpt")
    with pytest.raises(Hep2ganError, match="cannot be loaded"):
        read_checkpoint(tmp_path / "x.ckpt")
    assert not marker.exists()


@needs_full_device
def test_a_full_disk_stops_the_run_and_leaves_the_older_checkpoints(tmp_path):
    fit(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    divert(tmp_path / "epoch0003.ckpt")
    with pytest.raises(Hep2ganError, match=r"(?s)epoch0003.ckpt cannot be written.*No space left"):
        fit(tmp_path, 3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fit(tmp_path, 3)
    assert read_checkpoint(tmp_path / "epoch0003.ckpt")["epoch"] == 2


def test_every_batch_has_the_seed_that_torch_would_give_it():
    drawn = []

    class Draws(L.Callback):
        def on_train_batch_start(self, *_):
            drawn.append(torch.rand(3))

    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, callbacks=[SeedEachBatch(5), Draws()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(tiny.task(), DataLoader([tiny.batch(), tiny.batch(seed=1)], batch_size=None))
    expected = []
    for epoch, batch in ((0, 0), (0, 1), (1, 0), (1, 1)):
        words = np.random.SeedSequence([3, 5, epoch, batch, 0]).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0]))
        expected.append(torch.rand(3))
    assert torch.equal(torch.stack(drawn), torch.stack(expected))
