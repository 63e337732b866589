"""Which weights go to a dashboard, and how large at most."""

import shutil

import pytest
import torch

from hep2gan.config import LoggerSettings
from hep2gan.inference.load import load_run
from hep2gan.runs.checkpoints import read_checkpoint
from hep2gan.runs.folder import RunFolder
from hep2gan.training.loggers.weights import log_weights

METRICS = {"test/dice": 0.5}


class Taker:
    def __init__(self):
        self.taken = {}

    def log_weights(self, weights):
        self.taken[weights.aliases] = (weights.epoch, weights.metadata, weights.folder)
        loaded = load_run(weights.folder)
        assert loaded.size == 64
        # Those that were tested predict as the run does.
        assert (loaded.trust() is not None) == ("best" in weights.aliases)
        assert loaded.run.done == ("best" in weights.aliases)


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run / "runs/default/proposed/seed0", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def taken(run, **settings):
    taker = Taker()
    log_weights(LoggerSettings(**settings), run, [taker], {"seed": 0}, METRICS)
    assert not (run.path / "weights.tmp").exists()
    return taker.taken


def test_without_a_validation_part_the_last_are_the_chosen(run):
    ((aliases, (epoch, metadata, _)),) = taken(run).items()
    assert (aliases, epoch) == (("best", "last"), 1)
    assert metadata == {"seed": 0, "epoch": 1, "metrics": METRICS}
    assert taken(run, weights="best").keys() == {("best",)}
    assert taken(run, weights=False) == {}


def test_the_chosen_and_the_last_are_two(run):
    content = dict(read_checkpoint(run.checkpoints / "epoch0001.ckpt"))
    torch.save(content, run.checkpoints / "best.ckpt")
    found = taken(run)
    assert {aliases: epoch for aliases, (epoch, *_) in found.items()} == {
        ("last",): 1,
        ("best",): 0,
    }
    assert found["last",][1]["metrics"] == {}
    assert taken(run, weights="best").keys() == {("best",)}
    assert taken(run, weights="last").keys() == {("last",)}
    torch.save(content | {"epoch": 1}, run.checkpoints / "best.ckpt")
    assert taken(run).keys() == {("best", "last")}


def test_too_large_or_missing_weights_are_left_out(run, caplog):
    assert taken(run, weights_mib=1) == {}
    assert "logger.weights_mib is 1" in caplog.text
    shutil.rmtree(run.checkpoints)
    assert taken(run) == {}
