"""A finished run on another labelled set: what is tested, written, said and refused."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hep2gan.cli import evaluate, report, train
from hep2gan.data.readers.manifest import ManifestSource
from hep2gan.errors import Hep2ganError
from hep2gan.models.output import ModelOutput
from hep2gan.runs.external import ExternalTest, external_predictions, external_tests
from hep2gan.runs.folder import RunFolder
from hep2gan.training.external import evaluate_external
from tests.helpers.commands import call, folder_after
from tests.helpers.made_store import made_store
from tests.helpers.report_fixtures import make_predictions, write_run
from tests.helpers.started import NETS, SMALL

RUN = "runs/default/intensity/seed0"
LAB = ("data=phantom", "data.count=60", "data.lab=1", "figures=false")
CODES = {"Homogeneous": "AC-1", "Speckled": "AC-4", "Nucleolar": "AC-8", "Centromere": "AC-3"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished forest, and a set of its first cells by other names."""
    forest = ("data=phantom", "data.count=96", "scale=laptop", "method=intensity")
    run = (train, *forest, "split.test_fraction=0.25", "model.baseline.trees=5")
    with folder_after(tmp_path_factory, run, (evaluate, RUN, *LAB, "as=lab1")) as folder:
        raw = Path(shutil.copytree("stores/synthetic_96_0_lab0", "codes"))
        table = list(csv.reader((raw / "gt_training.csv").read_text().splitlines()))
        specimens = dict(csv.reader((raw / "specimens.csv").read_text().splitlines()))
        rows = [["image", "mask", "label", "specimen"]] + [
            [image, mask, CODES.get(name, "Rods"), specimens[image]]
            for image, mask, name, _ in table
        ]
        with (raw / "codes.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


def fake(predicted, classes=3):
    """Gives these classes, each with certainty, to the cells of a test part."""

    def predict(store, split):
        return torch.from_numpy(split.test), ModelOutput(
            None, torch.eye(classes)[torch.tensor(predicted)], None, None
        )

    return predict


def test_scores_by_hand(tmp_path):
    """A, A, B count; a prediction into C, which the set lacks, is wrong; Z is left out."""
    run = RunFolder(write_run(tmp_path / "run", make_predictions((4, 4, 4), size=32)))
    first, second, third = json.loads((run.path / "split.json").read_text())["counts"]["train"]
    store = made_store(
        [0, 0, 1, 2], classes=(first, second.upper(), "Z"), specimen=[0, 1, 2, 3], size=32
    )
    source = ManifestSource(name="other", store="none", size=32)
    cells, metrics = evaluate_external(run, source, store, "other", fake([0, 2, 1]), figures=False)
    assert cells.absent == (third,)
    assert metrics["test/cells"] == 3
    assert metrics["test/accuracy"] == pytest.approx(2 / 3)
    assert metrics["test/mean_class_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["baseline/majority_accuracy"] == pytest.approx(2 / 3)
    assert metrics["test/accuracy_specimens_low"] < 2 / 3 < metrics["test/accuracy_specimens_high"]
    assert "leakage/identical_cells_left_out" not in metrics
    found = external_predictions(run.path, "other")
    assert found.label.tolist() == [0, 0, 1]
    assert found.classes == (first, second, third)
    facts = external_tests(run.path)["other"]
    assert (facts.cells, facts.tested, facts.left_out) == (4, 3, {"Z": 1})
    assert "is wrong" in facts.rule
    # The same set is tested anew; another one does not take its name.
    evaluate_external(run, source, store, "other", fake([0, 0, 1]), figures=False)
    assert RunFolder(run.external / "other").metrics()["test/accuracy"] == 1
    other = made_store([0, 1], classes=(first, second), fingerprint="f" * 64, size=32)
    with pytest.raises(Hep2ganError, match=r"is a test on other cells.*3 cells.*as=NAME, or del"):
        evaluate_external(run, source, other, "other", fake([0, 1]), figures=False)


def test_an_interrupted_test_leaves_the_one_before(tmp_path, monkeypatch):
    run = RunFolder(write_run(tmp_path / "run", make_predictions((4, 4, 4), size=32)))
    classes = tuple(run.split_summary()["counts"]["train"])
    store = made_store([0, 1, 2], classes=classes, size=32)
    source = ManifestSource(name="other", store="none", size=32)
    evaluate_external(run, source, store, "other", fake([0, 1, 2]), figures=False)
    before = {path.name: path.read_bytes() for path in (run.external / "other").iterdir()}

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(ExternalTest, "save", full)
    with pytest.raises(OSError, match="no space"):
        evaluate_external(run, source, store, "other", fake([2, 2, 2]), figures=False)
    assert [path.name for path in run.external.iterdir()] == ["other"]
    assert {path.name: path.read_bytes() for path in (run.external / "other").iterdir()} == before


def test_all_cells_of_another_laboratory_are_tested(capsys):
    facts = external_tests(Path(RUN))["lab1"]
    assert (facts.cells, facts.tested, facts.identical) == (60, 60, [])
    assert facts.synthetic
    metrics = RunFolder(Path(RUN) / "external/lab1").metrics()
    assert metrics["test/cells"] == 60
    assert metrics["leakage/identical_cells_left_out"] == 0
    assert 0 < metrics["test/accuracy"] < 0.7 < RunFolder(Path(RUN)).metrics()["test/accuracy"]
    # The same command again gives the same figures.
    assert call(evaluate, RUN, *LAB, "as=lab1") == 0
    assert RunFolder(Path(RUN) / "external/lab1").metrics() == metrics
    assert "on the run's own test cells" in capsys.readouterr().out


def test_five_classes_by_other_names_of_which_most_cells_were_in_training(capsys):
    codes = ("data=manifest", "data.root=codes/codes.csv", "figures=false")
    assert call(evaluate, RUN, *codes, "as=codes") == 0
    said = capsys.readouterr().out
    facts = external_tests(Path(RUN))["codes"]
    assert facts.classes == {code: name for name, code in CODES.items()}
    assert facts.absent == ["NuMem", "Golgi"]
    assert set(facts.left_out) == {"Rods"}
    # What remains are the run's own test cells of these classes.
    own = RunFolder(Path(RUN)).split_summary()["counts"]
    assert facts.tested == sum(own["test"][name] for name in CODES)
    assert len(facts.identical) == sum(own["train"][name] for name in CODES)
    assert f"{len(facts.identical)} cells whose image was in training" in said
    assert "AC-1 as Homogeneous" in said
    # A class that is given.
    given = (*codes, "classes={Rods: Golgi}", "as=rods")
    assert call(evaluate, RUN, *given) == 0
    assert external_tests(Path(RUN))["rods"].classes["Rods"] == "Golgi"


def test_a_set_without_masks_of_which_images_were_in_training(capsys):
    own = ("data=phantom", "data.count=96", "data.masks=false", "figures=false")
    assert call(evaluate, RUN, *own, "as=bare") == 0
    counts = RunFolder(Path(RUN)).split_summary()["counts"]
    facts = external_tests(Path(RUN))["bare"]
    assert facts.tested == sum(counts["test"].values())
    assert len(facts.identical) == sum(counts["train"].values())
    # They are the run's own test cells.
    metrics = RunFolder(Path(RUN) / "external/bare").metrics()
    assert metrics["test/accuracy"] == RunFolder(Path(RUN)).metrics()["test/accuracy"]
    assert external_predictions(Path(RUN), "bare").truth is None


def test_without_the_store_of_the_training(tmp_path, caplog):
    """Networks need it only to find identical cells; a forest is grown on it."""
    moved = Path(shutil.copytree(RUN, tmp_path / "run"))
    store = json.loads((moved / "store.json").read_text())
    store["path"] = "gone"
    (moved / "store.json").write_text(json.dumps(store))
    assert call(evaluate, str(moved), *LAB, "as=again") == 2
    assert call(evaluate, str(moved), *LAB, "as=again", "store=stores/phantom_96_0_lab0_64") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=phantom"], "data is given, as is not.*add as=NAME"),
        (["data.name=x"], "data._target_ is not given"),
        (["as=lab2"], "as is given, data is not.*add data=manifest data.root=FOLDER"),
        (["classes={a: b}"], "classes is given, data is not"),
        (["data=phantom", "as=../lab2"], "as is '../lab2'.*names a folder.*as=lab2"),
        (["data=phantom", "as=.lab2"], "as is '.lab2'"),
        (["data=phantom", "as=x", "data.size=32"], "data.size is 32, .* images of 64 px.*leave"),
        (
            ["data=phantom", "as=x", "data.store=stores/phantom_96_0_lab0_64"],
            "is the store that .* was trained on.*leave data.store and data.name out",
        ),
        (["data=phantom", "as=x", "data.count=96"], "holds the cells that .* was trained on"),
        (["data=manifest", "as=x"], "no store at stores/x_64.*data.root=FOLDER"),
        (["data=phantom", "data.count=60", "as=lab1"], "is a test on other cells"),
    ],
)
def test_what_is_refused(words, message, capsys):
    before = sorted(Path(RUN, "external").iterdir())
    assert call(evaluate, RUN, *words, "figures=false") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Fix: " in said
    assert re.search(message, said), said
    assert sorted(Path(RUN, "external").iterdir()) == before


def test_an_unfinished_run_is_refused(tmp_path, capsys):
    moved = Path(shutil.copytree(RUN, tmp_path / "run"))
    (moved / "DONE").unlink()
    assert call(evaluate, str(moved), *LAB, "as=lab1") == 2
    assert "is not finished" in capsys.readouterr().err


def test_a_link_out_of_the_run_is_refused(tmp_path, capsys):
    moved = Path(shutil.copytree(RUN, tmp_path / "run"))
    shutil.move(moved / "external/lab1", tmp_path / "elsewhere")
    (moved / "external/lab1").symlink_to(tmp_path / "elsewhere")
    assert call(evaluate, str(moved), *LAB, "as=lab1") == 2
    assert "is a link to" in capsys.readouterr().err


def test_a_damaged_record_names_its_repair(tmp_path):
    moved = Path(shutil.copytree(RUN, tmp_path / "run"))
    (moved / "external/lab1/external.json").write_text('{"store": 5}')
    with pytest.raises(Hep2ganError, match=r"external.json cannot be read.*as=lab1 again, or del"):
        external_tests(moved)


def test_the_report_shows_both(capsys):
    assert call(report, RUN, "output=r/report.html") == 0
    table = Path("r/external.md").read_text()
    assert "| `intensity` | `lab1` | 60 synthetic cells | 6 of 6 |" in table
    assert ">External tests</h2>" in Path("r/report.html").read_text()


@pytest.mark.integration
def test_networks_on_another_laboratory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(train, *SMALL, *NETS, "trainer.max_epochs=1", "trainer.num_workers=1") == 0
    run = "runs/default/proposed/seed0"
    assert call(evaluate, run, *LAB, "as=lab1", NETS[0]) == 0
    metrics = RunFolder(Path(run, "external/lab1")).metrics()
    assert metrics["test/cells"] == 60
    assert 0 < metrics["test/dice"] < 1
    assert np.isfinite(metrics["baseline/mean_mask_dice"])
    assert call(evaluate, run, *LAB, "data.masks=false", "as=bare", NETS[0]) == 0
    bare = RunFolder(Path(run, "external/bare")).metrics()
    assert bare["test/accuracy"] == metrics["test/accuracy"]
    assert not [name for name in bare if "dice" in name]
    assert call(report, run, "output=r/report.html") == 0
    shutil.rmtree("stores/phantom_60_0_lab0_32")
    assert call(evaluate, run, *LAB, "as=lab1", NETS[0]) == 0
    assert external_tests(Path(run))["lab1"].identical is None
