"""Two real ranks against one: the same training, the same test."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hep2gan.runs.predictions import Predictions
from tests.helpers.started import NETS, SMALL, TWO, final, ranks, train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    train(folder, *SMALL, *NETS, "study=one", "training.ema=0.8")
    train(folder, *SMALL, *NETS, *TWO, "study=two", "training.ema=0.8")
    return folder


def run(place, study):
    return place / f"runs/{study}/proposed/seed0"


@pytest.mark.parametrize("kind", ["trained_weights", "state_dict"])
def test_two_ranks_of_half_batches_train_like_one(place, kind):
    assert_same_weights(place, kind, 2e-6)


def assert_same_weights(place, kind, tolerance):
    """Of the studies one and two: the weights, and their moving average."""
    one, two = (final(run(place, study)) for study in ("one", "two"))
    one, two = (found["state_dict"] | found[kind] for found in (one, two))
    parts = ("generator.", "discriminator.", "classifier.", "classification_loss.gaussian_mixture.")
    for part in parts:
        names = [name for name in one if name.startswith(part)]
        assert names, part
        for name in names:
            assert torch.allclose(one[name], two[name], rtol=0, atol=tolerance), name


@pytest.mark.gpu
def test_two_ranks_that_share_a_gpu_train_like_one(tmp_path):
    gpu = ("trainer.accelerator=gpu", "trainer.tf32=false", "training.ema=0.8")
    share = ("trainer.process_group_backend=gloo", "trainer.share_device=true")
    train(tmp_path, *SMALL, *NETS, *gpu, "study=one")
    train(tmp_path, *SMALL, *NETS, *gpu, *TWO, *share, "study=two")
    for kind in ("trained_weights", "state_dict"):
        assert_same_weights(tmp_path, kind, 1e-4)


def curves(path):
    with (path / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/generator/l1"]]


def test_epochs_log_the_means_over_all_ranks(place):
    one, two = curves(run(place, "one")), curves(run(place, "two"))
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        for name in a:
            if name.startswith("train/"):
                assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-5, abs=1e-6), name


@pytest.mark.integration
@pytest.mark.parametrize("eval_batch_size", [3, 5])
def test_any_number_of_ranks_tests_alike_to_the_last_bit(place, tmp_path, eval_batch_size):
    program = Path(__file__).parent / "evaluate_program.py"
    found, metrics = [], []
    os.chdir(place)  # the store's path is relative
    for number in (1, 2, 3) if eval_batch_size == 3 else (1, 2):
        out = tmp_path / str(number)
        shown = ranks(number, program, run(place, "two"), out, number, eval_batch_size)
        assert all(other == shown[0] for other in shown)
        metrics.append(json.loads((out / "metrics.json").read_text()))
        found.append(Predictions.load(out / "predictions.npz"))
    assert all(other == metrics[0] for other in metrics[1:])
    for other in found[1:]:
        assert other.id.tolist() == found[0].id.tolist()
        for part in ("probabilities", "mask", "features", "probabilities_true_mask"):
            assert np.array_equal(getattr(other, part), getattr(found[0], part)), part
