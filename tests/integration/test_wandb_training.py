"""Small real training runs with logger=[wandb,mlflow], read back from their folders."""

import csv
import json
import re
import runpy
import shutil
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from PIL import Image

from hep2gan.cli import report, train
from hep2gan.inference.load import load_run
from hep2gan.runs.metrics_csv import logged_before
from hep2gan.runs.predictions import Predictions
from hep2gan.training import run as training_run
from hep2gan.training.callbacks import checkpoint
from hep2gan.training.loggers.course import saved_pictures
from tests.helpers.commands import call
from tests.helpers.offline import curve, runs, without_wandb_settings
from tests.helpers.started import assert_same

MlflowClient = pytest.importorskip("mlflow").MlflowClient
pytestmark = pytest.mark.integration

DATA = (
    "data=phantom", "data.count=96", "scale=laptop", "split.test_fraction=0.25",
    "trainer.log_every_n_steps=2", "trainer.accelerator=cpu",
)  # fmt: skip
SMALL = (
    *DATA, "split.validation_fraction=0.2", "logger=[wandb,mlflow]", "logger.pictures_every=2",
    "trainer.max_epochs=3",
)  # fmt: skip
CLASSES = {"Homogeneous", "Speckled", "Nucleolar", "Centromere", "NuMem", "Golgi"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        without_wandb_settings(patch, folder)
        assert call(train, *SMALL) == 0
        yield folder


@pytest.fixture
def whole(place):
    (run,) = runs(place / "runs/default/proposed/seed0")
    return run


def test_a_run_is_finished_and_says_where_it_comes_from(place, whole):
    folder = place / "runs/default/proposed/seed0"
    assert whole["exit"] == 0
    record = json.loads((folder / "provenance.json").read_text())
    assert whole["config"]["provenance"] == record
    store = json.loads((folder / "store.json").read_text())
    assert record["data"]["fingerprint"] == store["fingerprint"]
    split = json.loads((folder / "split.json").read_text())
    assert split
    assert record["split"]["train"] + record["split"]["validation"] + record["split"]["test"] == 96
    assert record["parameters"].keys() == {"generator", "discriminator", "classifier"}


def test_nothing_piles_up_in_the_home_folder(place):
    # Offline tables wait there for `wandb sync`.
    assert list(place.glob("runs/default/proposed/seed0/wandb/staged/artifacts/staging/*"))
    assert not list(place.glob(".local/share/wandb/artifacts/staging/*"))


def test_every_curve_is_also_in_metrics_csv(place, whole):
    path = place / "runs/default/proposed/seed0/metrics.csv"
    of_file = {}
    for step, row in logged_before(path, 99):
        for name, value in row.items():
            if name != "epoch":
                of_file.setdefault(name, []).append((row["epoch"], step, value))
    groups = ("train/", "val/", "lr/", "gm/val/", "speed/", "step/", "health/")
    of_run = {}
    for row in whole["history"]:
        for name, value in row.items():
            if name.startswith(groups):
                point = (row["epoch"], row["trainer/global_step"], value)
                of_run.setdefault(name, []).append(point)
    assert of_run.keys() == of_file.keys()
    for name, points in of_run.items():
        assert points == of_file[name], name


def test_the_panels_users_look_for_are_there(whole):
    logged = {name for row in whole["history"] for name in row}
    assert logged >= {
        "train/generator/l1", "train/discriminator/p_real", "train/discriminator/p_fake",
        "lr/generator", "val/f1", "val/dice", "gm/val/own_distance", "gm/val/other_distance",
        "speed/cells_per_second", "speed/seconds_per_epoch", "speed/share_waiting_for_data",
        "speed/memory_gib", "test/dice", "gm/test/own_distance", "gm/test/other_distance",
        "figure/contours.path", "test/worst_cells.path", "test/roc_table.path",
        "test/confusion_matrix_table.path", "step/classifier/gaussian_mixture",
    }  # fmt: skip
    seen = {name.rpartition("/")[2] for name in logged if name.startswith("val/dice/")}
    assert seen
    assert seen <= CLASSES
    assert seen == {n.rpartition("/")[2] for n in logged if n.startswith("val/accuracy/")}
    for name in ("train/generator/l1", "val/f1", "speed/memory_gib", "gm/val/own_distance"):
        assert [epoch for epoch, _ in curve(whole, name)] == [0, 1, 2]
    f1 = [value for _, value in curve(whole, "val/f1")]
    assert whole["summary"]["val/f1"] == f1[-1]


def dashboard():
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments/dashboards/dashboard.py"))


def not_shown(run, sections):
    """What panels name and a run has not logged."""
    logged = {name for row in run["history"] for name in row} | run["summary"].keys()
    return {
        name
        for name in dashboard()["names_of"](sections)
        if name not in logged and not any(key.startswith(f"{name}.") for key in logged)
    }


def test_the_dashboard_names_what_is_logged(place, whole):
    made = dashboard()
    classes, validation, logged = made["logged_by"](place / "runs/default/proposed/seed0")
    assert validation
    sections = made["panels"](classes, validation, logged)
    assert not not_shown(whole, sections)
    assert {"Test", "Alarms", "Validation", "Validation by class", "Pictures"} <= sections.keys()
    missing = not_shown(whole, made["panels"](sorted(CLASSES), True))
    # Validation cells of every pattern are not in so small a part.
    assert {name.rpartition("/")[0] for name in missing} <= {"val/dice", "val/accuracy"}
    pytest.importorskip("wandb_workspaces")
    workspace = made["built"]("team", "project", sections)
    assert [s.name for s in workspace.sections] == list(sections)
    assert [len(s.panels) for s in workspace.sections] == [len(p) for p in sections.values()]


def test_the_chosen_epoch_its_weights_and_its_data_are_named(place, whole):
    folder = place / "runs/default/proposed/seed0"
    f1 = [value for _, value in curve(whole, "val/f1")]
    chosen = f1.index(max(f1))
    summary = whole["summary"]
    assert summary["best/epoch"] == chosen
    for name in ("val/dice", "train/generator/l1"):
        assert summary[f"best/{name}"] == curve(whole, name)[chosen][1]
    fingerprint = json.loads((folder / "store.json").read_text())["fingerprint"]
    (data,) = [a for a in whole["artifacts"] if a.type == "dataset"]
    assert data.use_after_commit
    assert json.loads(data.metadata)["fingerprint"] == fingerprint
    models = {alias: a for a in whole["artifacts"] if a.type == "model" for alias in a.aliases}
    assert models.keys() == {"best", "last", "latest"}
    assert summary["weights/best"] == f"{models['best'].name}:best"
    for alias, epoch in (("best", chosen), ("last", 2)):
        known = json.loads(models[alias].metadata)
        told = (known["study"], known["method"], known["seed"], known["epoch"])
        assert told == ("default", "proposed", 0, epoch)
        assert known["fingerprint"] == fingerprint
    metrics = json.loads((folder / "metrics.json").read_text())
    assert json.loads(models["best"].metadata)["metrics"] == metrics
    restored = place / "restored"
    for file in models["best"].manifest.contents:
        (restored / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.local_path, restored / file.path)
    assert_same(
        dict(load_run(restored).task.state_dict()), dict(load_run(folder).task.state_dict())
    )
    assert sum(f.size for f in models["last"].manifest.contents) < 50e6
    assert not list(folder.glob("weights.tmp"))


def test_outlines_by_epoch(place, whole):
    rows = [row for row in whole["history"] if "pictures/epochs.path" in row]
    assert [row["epoch"] for row in rows] == [1, 2]
    pictures = list(saved_pictures(place / "runs/default/proposed/seed0"))
    assert [row["pictures/epochs.caption"] for row in rows] == [p.caption for p in pictures]
    split = (place / "runs/default/proposed/seed0/split.csv").read_text()
    ids = re.findall(r"\b\d{5}\b", pictures[0].caption)
    assert len(ids) == 8
    assert all(re.search(rf"^{name},.*validation", split, re.M) for name in ids)
    with Image.open(pictures[0].path) as image:
        assert image.size == (8 * 128, 2 * 128)


def test_mlflow_holds_the_same(place, whole):
    folder = place / "runs/default/proposed/seed0"
    client, run = only_mlflow_run(folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "proposed-seed0")
    for name in ("train/generator/l1", "val/f1", "speed/cells_per_second"):
        course = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in course] == curve(whole, name)
    steps = client.get_metric_history(run.info.run_id, "step/generator/l1")
    of_wandb = curve(whole, "step/generator/l1", "trainer/global_step")
    assert [(m.step, m.value) for m in steps] == of_wandb
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {name: run.data.metrics[name] for name in metrics} == metrics
    assert run.data.metrics["best/val/f1"] == whole["summary"]["best/val/f1"]
    assert run.data.params["loss.beta"] == "10.0"
    assert (
        run.data.tags["data.fingerprint"]
        == run.inputs.dataset_inputs[0].dataset.digest + (run.data.tags["data.fingerprint"][36:])
    )
    artifacts = Path(url2pathname(urlparse(run.info.artifact_uri).path))
    assert load_run(artifacts / "weights/best").config.name == "proposed"
    assert (artifacts / "weights/last/metadata.json").is_file()
    assert (artifacts / "figures/roc.png").is_file()
    with (artifacts / "test/predictions.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    predictions = Predictions.load(folder / "predictions.npz")
    assert [row["id"] for row in table] == predictions.id.tolist()
    assert [float(row["dice"]) for row in table] == pytest.approx(predictions.dice.tolist())
    assert len(list((artifacts / "test/worst_cells").iterdir())) == 20
    assert sorted(p.name for p in (artifacts / "pictures").iterdir()) == [
        "epoch0002.png", "epoch0003.png",
    ]  # fmt: skip


def only_mlflow_run(folder):
    """The client of a run's own store, and the one run in it that is not deleted."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "hep2gan"]
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def test_a_finished_run_is_logged_later_as_a_whole(place, capsys):
    late = (*DATA, "study=late", "trainer.max_epochs=1")
    assert call(train, *late) == 0
    folder = place / "runs/late/proposed/seed0"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    late += ("logger=[wandb,mlflow]",)
    assert call(train, *late) == 0
    assert "Logging its course and results to mlflow and wandb" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in before} == before
    (run,) = runs(folder)
    assert run["exit"] == 0
    assert [epoch for epoch, _ in curve(run, "train/generator/l1")] == [0]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {name: run["summary"][name] for name in metrics} == metrics
    # The chosen epoch is the last: one version of the weights.
    (model,) = [a for a in run["artifacts"] if a.type == "model"]
    assert set(model.aliases) == {"best", "last", "latest"}
    client, of_mlflow = only_mlflow_run(folder)
    assert [m.step for m in client.get_metric_history(of_mlflow.info.run_id, "lr/generator")] == [0]
    assert of_mlflow.data.metrics["test/dice"] == metrics["test/dice"]
    # By default there is no validation part, and no section is empty. Pictures of before the
    # logger are not there.
    made = dashboard()
    assert not_shown(run, made["panels"](sorted(CLASSES), False)) <= {"pictures/epochs"}
    capsys.readouterr()
    assert call(train, *late) == 0
    assert "Logging its course" not in capsys.readouterr().out
    assert len(runs(folder)) == 1


def test_metrics_of_the_test_are_the_files(place, whole):
    metrics = json.loads((place / "runs/default/proposed/seed0/metrics.json").read_text())
    assert {name: whole["summary"][name] for name in metrics} == metrics
    assert metrics["gm/test/own_distance"] > 0
    assert call(report, "runs/default/proposed/seed0", "output=report.html") == 0


def broken_in_epoch(number, error):
    save = checkpoint.EpochCheckpoint.on_train_epoch_end

    def save_and_break(self, trainer, task):
        if trainer.current_epoch == number:
            raise error
        save(self, trainer, task)

    return save_and_break


def test_a_stopped_and_resumed_run_is_one_whole_run(place, whole, monkeypatch):
    name = "on_train_epoch_end"
    with monkeypatch.context() as patch:
        # Before the checkpoint: this epoch's rows are logged and will be logged again.
        broken = broken_in_epoch(1, RuntimeError("power cut"))
        patch.setattr(checkpoint.EpochCheckpoint, name, broken)
        with pytest.raises(RuntimeError, match="power cut"):
            call(train, *SMALL, "study=resumed")
    folder = place / "runs/resumed/proposed/seed0"
    (failed,) = runs(folder)
    assert failed["exit"] == 1
    assert [epoch for epoch, _ in curve(failed, "train/generator/l1")] == [0, 1]
    assert call(train, *SMALL, "study=resumed") == 0
    (resumed,) = runs(folder)
    assert resumed["exit"] == 0
    for name in ("train/generator/l1", "val/f1", "lr/classifier", "gm/val/own_distance"):
        assert curve(resumed, name) == curve(whole, name), name
    steps = "step/generator/l1", "trainer/global_step"
    assert curve(resumed, *steps) == curve(whole, *steps)
    assert resumed["summary"]["best/val/f1"] == whole["summary"]["best/val/f1"]
    assert resumed["run"].run_id != failed["run"].run_id
    assert len(list((folder / "wandb/superseded").glob("offline-run-*"))) == 1
    assert not [a for a in failed["artifacts"] if a.type == "model"]
    aliases = [sorted(a.aliases) for a in resumed["artifacts"] if a.type == "model"]
    assert aliases == [sorted(a.aliases) for a in whole["artifacts"] if a.type == "model"]
    pictures = [row["epoch"] for row in resumed["history"] if "pictures/epochs.path" in row]
    assert pictures == [1, 2]
    client, run = only_mlflow_run(folder)
    for name in ("train/generator/l1", "val/f1"):
        course = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in course] == curve(whole, name)


def test_a_run_that_fails_in_the_test_is_failed(place, monkeypatch):
    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(training_run, "evaluate_run", broken)
    with pytest.raises(OSError, match="disk full"):
        call(train, *SMALL, "study=failed", "trainer.max_epochs=1")
    (run,) = runs(place / "runs/failed/proposed/seed0")
    assert run["exit"] == 1
    assert [epoch for epoch, _ in curve(run, "train/generator/l1")] == [0]
    with (place / "runs/failed/proposed/seed0/metrics.csv").open() as file:
        assert list(csv.DictReader(file))
