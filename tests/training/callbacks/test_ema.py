import json

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from hep2gan.cli import evaluate, pack, train
from hep2gan.cli.local import run_settings
from hep2gan.config import config_errors
from hep2gan.inference.load import load_run
from hep2gan.runs.checkpoints import latest_readable, load_best_or_latest, read_checkpoint
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint
from hep2gan.training.callbacks.networks import ExponentialMovingAverage, averaged_weights
from tests.helpers import tiny
from tests.helpers.commands import call
from tests.helpers.configs import composed, parsed

DECAY = 0.7


class Watch(L.Callback):
    """Weights after every batch, and what validation sees."""

    def __init__(self):
        self.batches, self.validated = [], []

    def on_train_batch_end(self, trainer, task, *_):
        self.batches.append({k: v.clone() for k, v in task.state_dict().items()})

    def on_validation_batch_start(self, trainer, task, *_):
        self.validated.append({k: v.clone() for k, v in task.state_dict().items()})


def fit(folder, epochs, decay=DECAY, validates=True):
    watch = Watch()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        num_sanity_val_steps=0,
        callbacks=[
            *([ExponentialMovingAverage(decay)] if decay else []),
            watch,
            EpochCheckpoint(folder),
        ],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = DataLoader([tiny.batch(seed=s) for s in range(3)], batch_size=None)
    validation = DataLoader([tiny.batch(seed=9)], batch_size=None) if validates else None
    trainer.fit(tiny.task(), batches, validation, ckpt_path=latest_readable(folder))
    return watch


def by_hand(weights):
    """The average of a list of tensors, in float64."""
    average = weights[0].double()
    for new in weights[1:]:
        average = DECAY * average + (1 - DECAY) * new.double()
    return average


def test_checkpoints_hold_the_average_and_the_weights(tmp_path):
    watch = fit(tmp_path, 2)
    found = read_checkpoint(tmp_path / "epoch0002.ckpt")
    assert len(watch.batches) == 6
    names = found["trained_weights"].keys()
    assert {name.partition(".")[0] for name in names} == {
        "generator", "classifier", "classification_loss",
    }  # fmt: skip
    assert {"generator.1.running_var", "classification_loss.gaussian_mixture.means"} <= names
    for name, last in watch.batches[-1].items():
        kept = found["state_dict"][name]
        if name in names:
            expected = by_hand([weights[name] for weights in watch.batches])
            assert torch.allclose(kept.double(), expected, atol=1e-6), name
            assert torch.equal(found["trained_weights"][name], last), name
        else:
            # The discriminator, and counters.
            assert torch.equal(kept, last), name
    moved = [
        name
        for name in names
        if not torch.equal(found["trained_weights"][name], found["state_dict"][name])
    ]
    assert {"generator.0.weight", "classifier.output.bias", "generator.1.running_mean"} <= {*moved}


def test_validation_sees_the_average_and_training_goes_on_from_the_weights(tmp_path):
    watch = fit(tmp_path / "averaged", 2)
    for epoch, seen in enumerate(watch.validated):
        for name in read_checkpoint(tmp_path / "averaged/epoch0002.ckpt")["trained_weights"]:
            history = [weights[name] for weights in watch.batches[: 3 * epoch + 3]]
            assert torch.allclose(seen[name].double(), by_hand(history), atol=1e-6), name
    plain = fit(tmp_path / "plain", 2, decay=None)
    assert len(watch.validated) == 2
    for ours, theirs in zip(watch.batches, plain.batches, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_resumed_run_has_the_same_bits(tmp_path):
    fit(tmp_path / "whole", 3)
    fit(tmp_path / "resumed", 1)
    fit(tmp_path / "resumed", 3)
    whole, resumed = (
        read_checkpoint(tmp_path / f"{name}/epoch0003.ckpt") for name in ("whole", "resumed")
    )
    for part in ("state_dict", "trained_weights"):
        assert whole[part].keys() == resumed[part].keys()
        assert all(torch.equal(whole[part][name], resumed[part][name]) for name in whole[part])


def test_what_is_chosen_is_the_average(tmp_path):
    fit(tmp_path, 1, validates=False)
    task = tiny.task()
    task.load_state_dict(load_best_or_latest(tmp_path)[1]["state_dict"])
    content = read_checkpoint(tmp_path / "epoch0001.ckpt")
    mine = averaged_weights(task)
    assert mine.keys() == content["trained_weights"].keys()
    assert all(torch.equal(mine[name], content["state_dict"][name]) for name in mine)


@pytest.mark.parametrize("wrong", [0, 1, 0.0, 1.0, -0.1, 2, "0.9", True, [0.9]])
def test_other_decays_are_refused(wrong):
    config = run_settings(composed("train", "data=phantom"))
    config["training"]["ema"] = wrong
    ((key, error),) = config_errors(config).items()
    assert key == "training.ema"
    assert "training.ema is" in str(error)
    assert error.fix


@pytest.mark.parametrize("decay", ["null", 0.5, 0.9999])
def test_none_and_fractions_are_accepted(decay):
    found = parsed("data=phantom", f"training.ema={decay}").training.ema
    assert found == (None if decay == "null" else decay)


@pytest.mark.integration
def test_a_run_is_tested_and_opened_with_the_average(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ("data=phantom", "data.count=60")
    small = (
        *data,
        "scale=laptop",
        "trainer.max_epochs=1",
        "split.test_fraction=0.3",
        "training.ema=0.9",
    )
    assert call(pack, *data, "data.size=64") == 0
    assert call(train, *small, "training.sampling=balanced", "evaluation.tta=8") == 0
    run = tmp_path / "runs/default/proposed/seed0"
    metrics = json.loads((run / "metrics.json").read_text())
    content = read_checkpoint(run / "checkpoints/epoch0001.ckpt")
    opened = load_run(run).task.state_dict()
    raw, average = content["trained_weights"], content["state_dict"]
    assert all(torch.equal(opened[name], average[name]) for name in raw)
    assert any(not torch.equal(opened[name], raw[name]) for name in raw)
    assert call(evaluate, str(run), "figures=false", "accelerator=cpu") == 0
    assert json.loads((run / "metrics.json").read_text()) == metrics
    # Not by chance: the last weights give something else.
    torch.save({"state_dict": average | raw}, tmp_path / "last.ckpt")
    given = (f"checkpoint={tmp_path / 'last.ckpt'}", "figures=false", "accelerator=cpu")
    assert call(evaluate, str(run), *given) == 0
    assert json.loads((run / "metrics.json").read_text()) != metrics


def test_a_decay_out_of_range_is_refused_before_the_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(train, "data=phantom", "scale=laptop", "training.ema=1.5") == 2
    assert "ema is 1.5" in capsys.readouterr().err
