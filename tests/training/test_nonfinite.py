"""NaN and infinite losses: stopped at the batch, or skipped without a trace."""

import copy
import json
from contextlib import nullcontext

import lightning as L
import numpy as np
import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.training.nonfinite import SkipNonfinite, StopAtNonfinite
from tests.helpers import tiny
from tests.training.callbacks.test_collapse import Alarmed
from tests.training.test_module import Rows, fit

IDS = np.asarray([f"cell{row}" for row in range(100)])


def batches(number, poisoned=None, value=torch.nan):
    made = [tiny.batch(seed=s) for s in range(number)]
    made = [b._replace(rows=b.rows + 10 * place) for place, b in enumerate(made)]
    if poisoned is not None:
        made[poisoned].image[0] = value
    return made


@pytest.mark.parametrize("every", [1, 3, 100])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_training_stops_and_names_the_cells(tmp_path, every, value):
    with pytest.raises(Hep2ganError, match=r"batch 2 of epoch 0.*nonfinite\.json.*skip"):
        fit(tiny.task(), batches(5, 2, value), callbacks=[StopAtNonfinite(tmp_path, IDS, every)])
    found = json.loads((tmp_path / "nonfinite.json").read_text())
    assert (found["epoch"], found["batch"]) == (0, 2)
    assert found["ids"] == [f"cell{row}" for row in range(20, 26)]
    assert found["before"] == [f"cell{row}" for row in range(10, 16)]
    assert found["terms"][0]["classifier/total"] == "nan"


@pytest.mark.parametrize("skips", [False, True])
def test_the_dashboards_are_alarmed(tmp_path, skips):
    logger = Alarmed()
    callback = SkipNonfinite() if skips else StopAtNonfinite(tmp_path, IDS, 1)
    with nullcontext() if skips else pytest.raises(Hep2ganError):
        fit(tiny.task(), batches(5, 2), callbacks=[callback], logger=logger)
    assert {kind for kind, _ in logger.alarms} == {"nonfinite_loss"}
    text = "Epoch 0: skipped 1 update of the " if skips else "Epoch 0: the loss is not finite in"
    assert logger.alarms[0][1].startswith(text)


def test_nothing_is_asked_of_the_device_between_checks(tmp_path, monkeypatch):
    checks = []
    check = StopAtNonfinite._check
    monkeypatch.setattr(StopAtNonfinite, "_check", lambda *a: (checks.append(1), check(*a)))
    fit(tiny.task(), batches(7), epochs=2, callbacks=[StopAtNonfinite(tmp_path, IDS, 3)])
    # After the third, the sixth and the last batch of an epoch.
    assert len(checks) == 6
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_is_written_of_unchecked_losses(tmp_path):
    class Save(L.Callback):
        def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
            if batch_idx == 2:
                trainer.save_checkpoint(tmp_path / "x.ckpt")

    with pytest.raises(Hep2ganError, match="batch 1 of epoch 0"):
        fit(tiny.task(), batches(5, 1), callbacks=[StopAtNonfinite(tmp_path, IDS, 100), Save()])
    assert not (tmp_path / "x.ckpt").exists()


class Keep(L.Callback):
    """Weights, buffers and optimizer states after each batch."""

    def __init__(self):
        self.states = []

    def on_train_batch_end(self, trainer, task, *_):
        state = [task.state_dict(), [o.state_dict() for o in trainer.optimizers]]
        self.states.append(copy.deepcopy(state))


def assert_equal(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def test_a_skipped_batch_leaves_no_trace(caplog):
    keep, logger = Keep(), Rows()
    task = tiny.task()
    fit(task, batches(4, 1), callbacks=[SkipNonfinite(), keep], logger=logger)
    assert_equal(keep.states[1], keep.states[0])
    # As if the batch had never been there.
    clean, without = tiny.task(), batches(4, 1)
    del without[1]
    rows = Rows()
    fit(clean, without, logger=rows)
    assert_equal(task.state_dict(), clean.state_dict())
    (row,) = [r for _, r in logger.rows if "train/generator/l1" in r]
    (expected,) = [r for _, r in rows.rows if "train/generator/l1" in r]
    (health,) = [r for _, r in logger.rows if "health/skipped/generator" in r]
    for name in ("discriminator", "generator", "classifier"):
        assert health[f"health/skipped/{name}"] == 1.0
        assert f"Epoch 0: skipped 1 update of the {name}, not finite." in caplog.text
    assert row == expected


def test_only_the_network_whose_loss_is_bad_is_skipped():
    keep = Keep()
    task = tiny.task()
    forward = task.classification_loss.forward

    def broken(logits, features, label):
        terms = forward(logits, features, label)
        return terms | {"total": terms["total"] * (torch.inf if len(keep.states) == 1 else 1.0)}

    task.classification_loss.forward = broken
    fit(task, batches(2), callbacks=[SkipNonfinite(), keep])
    first, second = keep.states
    parts = {"classifier": True, "classification_loss": True, "generator.3": False}
    for part, same in parts.items():
        for name in (n for n in first[0] if n.startswith(part)):
            assert torch.equal(first[0][name], second[0][name]) == same, name
    assert_equal(first[1][2], second[1][2])


def test_finite_losses_with_bad_gradients_are_skipped_too():
    task = tiny.task()
    before = copy.deepcopy(task.classifier.state_dict())
    task.classifier.output.weight.register_hook(lambda g: g * torch.nan)
    with pytest.raises(Hep2ganError, match="no update of epoch 0 was finite"):
        fit(task, batches(2), callbacks=[SkipNonfinite()])
    assert_equal(before, task.classifier.state_dict())


def test_an_epoch_without_any_finite_batch_stops():
    with pytest.raises(Hep2ganError, match="no update of epoch 0 was finite"):
        fit(tiny.task(), batches(1, 0), callbacks=[SkipNonfinite()])


def test_skipping_changes_nothing_where_all_is_finite():
    plain, careful = tiny.task(), tiny.task()
    fit(plain, batches(3), epochs=2)
    fit(careful, batches(3), epochs=2, callbacks=[SkipNonfinite()])
    assert_equal(plain.state_dict(), careful.state_dict())
