"""Runs that learn intensities, through the real entry points."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hep2gan.cli import evaluate, export, predict, report, train
from hep2gan.data.store.integrity import COLUMNS, compute_fingerprint
from hep2gan.data.store.store import Store
from hep2gan.runs.predictions import Predictions
from tests.helpers.commands import call, folder_after
from tests.helpers.started import NETS, SMALL

RUN = Path("runs/default/proposed/seed0")
STORE = Path("stores/phantom_60_0_lab0_32")
ONE = (*SMALL, *NETS, "trainer.max_epochs=1", "target=intensity")
TREES = ("method=intensity", "model.baseline.trees=20")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run that learned intensities."""
    with folder_after(tmp_path_factory, (train, *ONE)) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


def store_of(run):
    return Store.open(Path(json.loads((run / "store.json").read_text())["path"]))


def test_the_run_says_what_it_learned():
    found, store = Predictions.load(RUN / "predictions.npz"), store_of(RUN)
    assert found.classes == ("intermediate", "positive")
    row = {name: place for place, name in enumerate(store.id.tolist())}
    rows = [row[name] for name in found.id.tolist()]
    np.testing.assert_array_equal(found.label, store.intensity[rows])
    assert found.pattern.tolist() == [store.classes[store.label[row]] for row in rows]
    assert found.intensity is None
    facts = json.loads((RUN / "store.json").read_text())
    assert (facts["target"], facts["classes"]) == ("intensity", ["intermediate", "positive"])
    assert facts["fingerprint"] == store.fingerprint
    origin = json.loads((RUN / "provenance.json").read_text())["data"]
    assert (origin["target"], origin["classes"]) == (facts["target"], facts["classes"])
    split = json.loads((RUN / "split.json").read_text())
    assert set(split["counts"]["train"]) == {"intermediate", "positive"}
    assert split["left_out"] == 0
    metrics = json.loads((RUN / "metrics.json").read_text())
    golgi = found.pattern == "Golgi"
    assert metrics["test/pattern/Golgi/cells"] == golgi.sum() > 0
    right = found.predicted == found.label
    assert metrics["test/pattern/Golgi/accuracy"] == pytest.approx(right[golgi].mean())


def test_evaluating_predicting_and_exporting_say_intensities(capsys):
    before = Predictions.load(RUN / "predictions.npz")
    assert call(evaluate, str(RUN), *NETS[:1], "figures=false") == 0
    after = Predictions.load(RUN / "predictions.npz")
    np.testing.assert_array_equal(before.pattern, after.pattern)
    np.testing.assert_allclose(before.probabilities, after.probabilities, atol=1e-6)
    assert re.search(r"^accuracy, Golgi +\d\.\d{3}$", capsys.readouterr().out, re.M)
    image = next(Path("stores/synthetic_60_0_lab0").glob("*[0-9].png"))
    assert call(predict, str(RUN), str(image), *NETS[:1], "output=named") == 0
    with next(Path("named").glob("*.csv")).open() as file:
        (row,) = csv.DictReader(file)
    assert set(row.values()) & {"intermediate", "positive"}
    assert call(export, str(RUN), *NETS[:1], "output=graph") == 0
    card = Path("graph/README.md").read_text()
    assert "classified by their staining intensity" in card
    assert "0. intermediate\n1. positive\n" in card
    assert "/cells" not in card


def test_another_target_is_another_run(capsys):
    assert call(train, *ONE[:-1]) == 2
    said = capsys.readouterr().err
    assert "target: intensity there, pattern here" in said
    assert "with name=… or study=…" in said


def test_runs_of_two_targets_are_reported_apart(capsys):
    data = (*SMALL, *TREES, "study=forests")
    assert call(train, *data) == 0
    other = Path("runs/forests/intensity/seed0")
    metrics = json.loads((other / "metrics.json").read_text())
    assert {"test/intensity/positive/accuracy", "test/intensity/intermediate/f1"} <= set(metrics)
    assert call(report, str(RUN), str(other), "output=both/report.html") == 2
    said = capsys.readouterr().err
    assert "has target=intensity and" in said
    assert "the runs of one report learn the same label" in said
    assert not Path("both").exists()
    # What the error says leads out.
    assert call(report, str(RUN), "output=one/report.html") == 0
    assert call(report, str(other), "output=two/report.html") == 0
    by_pattern = (Path("one") / "report.html").read_text()
    assert "Results by pattern" in by_pattern
    assert "<dt>Target</dt><dd>intensity</dd>" in by_pattern
    assert "Results by intensity" in (Path("two") / "report.html").read_text()
    assert {file.name for file in Path("one").glob("subgroups.*")} == {
        "subgroups.md", "subgroups.tex", "subgroups.csv",
    }  # fmt: skip


def test_cells_without_intensity_are_told_and_a_set_without_any_is_refused(capsys):
    patterns = [*SMALL, *TREES, "target=intensity", "study=partly"]
    intensity_of(STORE, lambda values: np.where(np.arange(60) % 6 == 0, -1, values))
    assert call(train, *patterns) == 0
    said = capsys.readouterr().out
    assert "10 cells of stores/phantom_60_0_lab0_32 without an intensity are in no part" in said
    split = json.loads(Path("runs/partly/intensity/seed0/split.json").read_text())
    assert split["left_out"] == 10
    assert sum(sum(part.values()) for part in split["counts"].values()) == 50
    intensity_of(STORE, lambda values: np.full(60, -1))
    for more in ((), ("doctor=true",)):
        assert call(train, *patterns[:-1], "study=none", *more) != 0
        said = "".join(capsys.readouterr())
        assert "no cell of stores/phantom_60_0_lab0_32 has a known intensity" in said
        assert "set target=pattern" in said
    assert not Path("runs/none/intensity/seed0/config.yaml").exists()
    # What the error says leads out.
    assert call(train, *patterns[:-2], "study=none") == 0


def intensity_of(folder, change):
    """Give the store's cells other intensities, as if they had been packed with them."""
    values = np.load(folder / "intensity.npy")
    np.save(folder / "intensity.npy", change(values).astype(np.int8))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["fingerprint"] = compute_fingerprint(folder, manifest["classes"], list(COLUMNS))
    (folder / "manifest.json").write_text(json.dumps(manifest))
