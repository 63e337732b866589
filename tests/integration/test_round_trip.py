"""Every command on drawn cells, through the real entry points, on real networks."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.cli import evaluate, predict, report, train
from hep2gan.runs import checkpoints
from hep2gan.runs.predictions import Predictions
from tests.helpers.commands import call, inside_copy, power_cut_after_an_epoch

DATA = ("data=phantom", "data.count=96")
SMALL = (*DATA, "scale=laptop", "trainer.max_epochs=2", "split.test_fraction=0.25")
RUN = "runs/default/proposed/seed0"


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_run):
    """A folder with a packed store and one trained run."""
    with inside_copy(tmp_path_factory, trained_run) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


def test_a_run_folder_holds_everything(place):
    run = place / RUN
    names = {p.name for p in run.iterdir()}
    assert names >= {
        "config.yaml", "split.csv", "split.json", "store.json", "metrics.csv", "checkpoints",
        "predictions.npz", "metrics.json", "figures", "train.log", "DONE",
    }  # fmt: skip
    assert not list(run.rglob("*.partial"))
    for name in ("contours", "confusion", "roc", "tsne", "curves"):
        for suffix in ("png", "pdf"):
            assert (run / "figures" / f"{name}.{suffix}").stat().st_size > 1000
    assert (run / "DONE").stat().st_mtime >= (run / "metrics.json").stat().st_mtime


def test_metrics_are_flat_and_complete(place):
    metrics = json.loads((place / RUN / "metrics.json").read_text())
    overlap = ("dice", "dice_pooled", "jaccard", "boundary_f1", "hd95")
    classes = ("accuracy", "precision", "recall", "f1", "mean_class_accuracy", "auroc")
    for name in (*overlap, *classes, "accuracy_true_mask"):
        assert np.isfinite(metrics[f"test/{name}"]), name
    for name in ("ellipse_dice", "mean_mask_dice", "majority_accuracy"):
        assert 0 < metrics[f"baseline/{name}"] <= 1
    low, high = (metrics[f"test/accuracy_cells_{end}"] for end in ("low", "high"))
    assert low <= metrics["test/accuracy"] <= high


def test_predictions_are_of_the_test_part_and_nothing_else(place):
    found = Predictions.load(place / RUN / "predictions.npz")
    with (place / RUN / "split.csv").open() as file:
        test = [row["id"] for row in csv.DictReader(file) if row["part"] == "test"]
    assert sorted(found.id.tolist()) == sorted(test)
    assert len(test) == 24
    assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)


def test_losses_are_logged_by_batch_and_by_epoch(place):
    with (place / RUN / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = [row for row in rows if row["train/generator/l1"]]
    assert [row["epoch"] for row in epochs] == ["0", "1"]
    assert all(float(row["train/classifier/likelihood"]) >= 0 for row in epochs)


def test_evaluating_again_gives_the_same_numbers(place):
    before = (place / RUN / "metrics.json").read_text()
    old = Predictions.load(place / RUN / "predictions.npz")
    assert call(evaluate, RUN, "figures=false", "accelerator=cpu") == 0
    new = Predictions.load(place / RUN / "predictions.npz")
    assert np.array_equal(old.probabilities, new.probabilities)
    assert np.array_equal(old.mask, new.mask)
    assert (place / RUN / "metrics.json").read_text() == before


def test_a_finished_run_is_left_alone(place, capsys):
    checkpoint = next((place / RUN / "checkpoints").glob("*.ckpt"))
    before = checkpoint.stat().st_mtime_ns
    assert call(train, *SMALL) == 0
    assert "finished already" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(capsys):
    assert call(train, *SMALL, "loss.beta=5") == 2
    assert "loss.beta: 10.0 there, 5.0 here" in capsys.readouterr().err


def test_predicting_files_gives_what_the_test_gave(place, capsys):
    found = Predictions.load(place / RUN / "predictions.npz")
    raw = place / "stores/synthetic_96_0_lab0"
    inputs = place / "new cells"
    inputs.mkdir()
    for name in found.id[:5]:
        shutil.copy(raw / f"{name}.png", inputs)
        shutil.copy(raw / f"{name}_Mask.png", inputs)
    (inputs / "broken.png").write_bytes((inputs / f"{found.id[0]}.png").read_bytes()[:300])
    assert call(predict, RUN, str(inputs), "output=out", "batch_size=2", "calibrated=false") == 2
    shown = capsys.readouterr()
    assert "5 of 6 images done" in shown.out
    assert "broken.png" in shown.err
    with (place / "out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for position, name in enumerate(found.id[:5]):
        row = next(r for r in rows if name in r["image"])
        given = [float(row[c]) for c in found.classes]
        assert given == pytest.approx(found.probabilities[position].tolist(), abs=2e-4)
        mask = np.asarray(Image.open(place / f"out/masks/{name}.png"))
        assert mask.shape == tuple(found.crop_size[position])
        assert set(np.unique(mask)) <= {0, 255}
        assert float(row["mask_fraction"]) == pytest.approx((mask > 0).mean(), abs=1e-6)
        assert Image.open(place / f"out/overlays/{name}.png").mode == "RGB"


@pytest.mark.integration
def test_the_report_is_one_file(place):
    assert call(report, RUN, "output=report.html") == 0
    text = (place / "report.html").read_text()
    assert "data:image/png;base64," in text
    assert call(report, RUN, "runs/none", "output=other.html") == 2
    assert not (place / "other.html").exists()


def weights(run):
    return checkpoints.read_checkpoint(run / "checkpoints/epoch0002.ckpt")


def test_a_resumed_run_equals_an_unbroken_one(place, monkeypatch):
    with power_cut_after_an_epoch(monkeypatch):
        call(train, *SMALL, "study=resumed")
    run = place / "runs/resumed/proposed/seed0"
    assert not (run / "DONE").exists()
    assert call(train, *SMALL, "study=resumed") == 0
    unbroken, resumed = weights(place / RUN), weights(run)
    for name, tensor in unbroken["state_dict"].items():
        assert torch.equal(tensor, resumed["state_dict"][name]), name
    for ours, theirs in zip(unbroken["optimizer_states"], resumed["optimizer_states"], strict=True):
        flat = [torch.as_tensor(v) for s in ours["state"].values() for v in s.values()]
        other = [torch.as_tensor(v) for s in theirs["state"].values() for v in s.values()]
        assert all(torch.equal(a, b) for a, b in zip(flat, other, strict=True))
    assert unbroken["lr_schedulers"] == resumed["lr_schedulers"]

    def curves(path):
        with (path / "metrics.csv").open() as file:
            return [r for r in csv.DictReader(file) if r["train/generator/l1"]]

    assert curves(place / RUN) == curves(run)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "absent"),
    [
        (("method=resnet50_t", "pretrained=false"), ("test/dice", "test/accuracy_true_mask")),
        (("method=segmentation",), ("test/accuracy",)),
        (("method=without_adversarial",), ()),
        (("method=attention_pooling",), ()),
        (("method=ground_truth", "loss.gaussian_mixture.margin=[0.1,0.3]"), ("test/dice",)),
    ],
)
def test_methods_of_other_parts_train_and_test(options, absent, place):
    name = options[0].partition("=")[2]
    assert call(train, *SMALL, "trainer.max_epochs=1", "study=parts", *options) == 0
    metrics = json.loads((place / f"runs/parts/{name}/seed0/metrics.json").read_text())
    assert not metrics.keys() & set(absent)


@pytest.mark.integration
def test_validation_chooses_the_best_epoch(place):
    options = ("study=validated", "split.validation_fraction=0.2", "split.kind=specimen")
    assert call(train, *SMALL, *options) == 0
    run = place / "runs/validated/proposed/seed0"
    best = checkpoints.read_checkpoint(run / "checkpoints/best.ckpt")
    with (run / "metrics.csv").open() as file:
        f1 = [float(row["val/f1"]) for row in csv.DictReader(file) if row["val/f1"]]
    assert len(f1) == 2
    assert best["epoch"] == int(np.argmax(f1))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["leakage/shared_specimens"] == 0
