"""The values under best/* are those of one epoch: the one whose checkpoint is tested."""

import math

import pytest
import torch

from hep2gan.runs.checkpoints import improves
from hep2gan.training.callbacks.checkpoint import EpochCheckpoint
from hep2gan.training.loggers.chosen import ChosenEpoch


@pytest.mark.parametrize(
    ("monitor", "values", "chosen"),
    [
        ("val/f1", (0.1, 0.5, 0.5, 0.4), 1),
        ("val/f1", (math.nan, 0.2, math.nan, 0.3), 3),
        ("val/f1", (None, 0.2, None, 0.1), 1),
        ("val/f1", (math.nan, math.nan), 1),
        (None, (0.9, 0.1), 1),
    ],
)
def test_the_epoch_is_that_of_the_checkpoint(tmp_path, monitor, values, chosen):
    follow, best, saved = ChosenEpoch(monitor), {}, None
    checkpoint = EpochCheckpoint(tmp_path, monitor)
    trainer = type("Trainer", (), {"callback_metrics": {}})
    for epoch, value in enumerate(values):
        if value is not None:
            best |= follow.update({"val/f1": value, "epoch": epoch})
            trainer.callback_metrics["val/f1"] = torch.tensor(value)
        best |= follow.update({"train/total": float(epoch), "epoch": epoch})
        best |= follow.update({"speed/cells": 1.0, "epoch": epoch})
        if checkpoint._improved(trainer):
            saved = epoch
    assert best["best/epoch"] == best["best/train/total"] == chosen
    was_chosen = monitor and any(value is not None and math.isfinite(value) for value in values)
    assert saved == (chosen if was_chosen else None)
    assert "best/speed/cells" not in best


def test_what_is_not_finite_is_never_better():
    assert improves(0.2, 0.1)
    assert improves(0.1, None)
    assert not improves(0.1, 0.1)
    assert not improves(None, None)
    assert not any(improves(value, None) for value in (math.nan, math.inf))
