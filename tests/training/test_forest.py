"""A forest's run, through the real entry points."""

import json
import re
import shutil

import numpy as np
import pytest

from hep2gan.cli import evaluate, pack, predict, report, train
from hep2gan.runs.predictions import Predictions
from tests.helpers.commands import call

SMALL = ("data=phantom", "data.count=96", "scale=laptop", "split.test_fraction=0.25")
TREES = "model.baseline.trees=20"
RUN = "runs/default/prasath/seed0"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one finished forest."""
    folder = tmp_path_factory.mktemp("forest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(train, *SMALL, "method=prasath", TREES) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


def test_the_run_folder_holds_what_other_runs_hold(place):
    names = {p.name for p in (place / RUN).iterdir()}
    assert names >= {
        "config.yaml", "split.csv", "split.json", "store.json", "provenance.json",
        "predictions.npz", "metrics.json", "trust.json", "figures", "train.log", "DONE",
    }  # fmt: skip
    assert {p.stem for p in (place / RUN / "figures").iterdir()} == {
        "calibration", "confusion", "contours", "roc", "specimens", "trust", "tsne",
        "worst_classified",
    }  # fmt: skip
    metrics = json.loads((place / RUN / "metrics.json").read_text())
    assert metrics["test/accuracy"] > metrics["baseline/majority_accuracy"]
    low, high = (metrics[f"test/accuracy_cells_{end}"] for end in ("low", "high"))
    assert low <= metrics["test/accuracy"] <= high
    assert "leakage/shared_specimens" in metrics
    assert "test/dice" not in metrics


def test_predictions_hold_votes_and_texture_features(place):
    found = Predictions.load(place / RUN / "predictions.npz")
    assert found.features.shape == (24, 471)
    assert found.mask is None
    # 20 trees vote in steps of 1/20, grown until their leaves are pure.
    np.testing.assert_allclose(found.probabilities * 20, (found.probabilities * 20).round())


def test_a_run_is_tested_on_its_own_cells_wherever_they_lie(place, tmp_path, monkeypatch, capsys):
    store = json.loads((place / RUN / "store.json").read_text())["path"]
    other = ("data=phantom", "data.count=96", "data.seed=5", "data.size=64")
    assert call(pack, *other, "data.store=stores/other") == 0
    before = (place / RUN / "metrics.json").read_bytes()
    assert call(evaluate, RUN, "store=stores/other") == 2
    said = capsys.readouterr().err
    assert f"stores/other holds other cells than {RUN} was trained on" in said
    assert "leave store out, or name a copy of the training's store; to test on other" in said
    words = re.search(rf"hep2gan-evaluate {RUN} (.*)", said)[1].rstrip(".").split()
    assert call(evaluate, RUN, *words, "figures=false") == 0
    assert (place / RUN / "external/NAME/metrics.json").is_file()
    assert (place / RUN / "metrics.json").read_bytes() == before
    shutil.copytree(store, "stores/copied")
    assert call(evaluate, RUN, "store=stores/copied", "figures=false") == 0
    # What the error says leads out.
    monkeypatch.chdir(tmp_path)
    assert call(evaluate, str(place / RUN), "store=gone") == 2
    said = capsys.readouterr().err
    assert f"there is no store at {tmp_path / 'gone'}" in said
    assert "give its folder with store=FOLDER" in said
    assert call(evaluate, str(place / RUN), f"store={place / store}", "figures=false") == 0


def test_a_finished_forest_is_left_alone_and_another_refused(place, capsys):
    before = (place / RUN / "predictions.npz").stat().st_mtime_ns
    assert call(train, *SMALL, "method=prasath", TREES) == 0
    assert "finished already" in capsys.readouterr().out
    assert (place / RUN / "predictions.npz").stat().st_mtime_ns == before
    assert call(train, *SMALL, "method=prasath", "model.baseline.trees=30") == 2
    assert "model.baseline.trees: 20 there, 30 here" in capsys.readouterr().err


@pytest.mark.integration
def test_an_unfinished_forest_is_grown_anew_to_the_same(place):
    shutil.copytree(place / RUN, place / "kept", dirs_exist_ok=True)
    for name in ("DONE", "predictions.npz", "metrics.json"):
        (place / RUN / name).unlink()
    assert call(train, *SMALL, "method=prasath", TREES) == 0
    assert (place / RUN / "DONE").exists()
    for name in ("metrics.json", "split.csv"):
        assert (place / RUN / name).read_text() == (place / "kept" / name).read_text()


def test_evaluating_grows_the_same_forest_again(place, capsys):
    old = Predictions.load(place / RUN / "predictions.npz")
    assert call(evaluate, RUN, "figures=false") == 0
    new = Predictions.load(place / RUN / "predictions.npz")
    np.testing.assert_array_equal(old.probabilities, new.probabilities)
    assert call(evaluate, RUN, "checkpoint=a.ckpt") == 2
    assert "a forest has no checkpoints" in capsys.readouterr().err


def test_predicting_new_images_is_refused_with_the_reason(place, capsys):
    image = next((place / "stores/synthetic_96_0_lab0").glob("*[0-9].png"))
    assert call(predict, RUN, str(image)) == 2
    assert "keeps no trees" in capsys.readouterr().err


@pytest.mark.integration
def test_of_several_ranks_the_first_does_it_alone(place, monkeypatch):
    """As torchrun starts them: rank 1 is done at once and writes nothing."""
    ranks = ("trainer.devices=2", "trainer.accelerator=cpu", "study=ranks")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert call(train, *SMALL, "method=intensity", TREES, *ranks) == 0
        done = (place / "runs/ranks/intensity/seed0/DONE").exists()
        assert done == (rank == "0")


@pytest.mark.integration
def test_without_ranks_it_starts_none(place):
    assert call(train, *SMALL, "method=intensity", TREES, "trainer=ddp", "study=ddp") == 0
    found = Predictions.load(place / "runs/ddp/intensity/seed0/predictions.npz")
    assert found.features.shape == (24, 7)


@pytest.mark.integration
def test_the_report_shows_it(place):
    assert call(report, RUN, "output=report.html") == 0
    text = (place / "report.html").read_text()
    assert "data:image/png;base64," in text
    assert "prasath" in text


def test_wrong_features_are_refused_before_anything_is_written(place, capsys):
    wrong = ("method=prasath", "model.baseline.features=sift", "study=wrong")
    assert call(train, *SMALL, *wrong) == 2
    assert "model.baseline.features is 'sift'" in capsys.readouterr().err
    assert not (place / "runs/wrong/prasath/seed0/config.yaml").exists()
