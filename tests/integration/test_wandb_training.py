"""Small real training runs with logger=wandb, read back from their folders."""

import csv
import json
import runpy
from pathlib import Path

import pytest

from hep2gan.cli import report, train
from hep2gan.runs.metrics_csv import logged_before
from hep2gan.training import run as training_run
from hep2gan.training.callbacks import checkpoint
from tests.helpers.commands import call
from tests.helpers.offline import curve, runs, without_wandb_settings

pytestmark = pytest.mark.integration

SMALL = (
    "data=phantom", "data.count=96", "scale=laptop", "trainer.max_epochs=3",
    "split.test_fraction=0.25", "split.validation_fraction=0.2", "logger=wandb",
    "trainer.log_every_n_steps=2", "trainer.accelerator=cpu",
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
    assert whole["summary"]["best/val/f1"] == max(f1)
    assert whole["summary"]["val/f1"] == f1[-1]


def test_the_dashboard_names_what_is_logged(whole):
    path = Path(__file__).parents[2] / "experiments/dashboards/dashboard.py"
    dashboard = runpy.run_path(str(path))
    logged = {name for row in whole["history"] for name in row}
    for name in dashboard["metrics"]():
        # Validation cells of every pattern are not in so small a part.
        rare = (
            name.startswith(("val/dice/", "val/accuracy/")) and name.rpartition("/")[2] in CLASSES
        )
        assert rare or name in logged or any(key.startswith(f"{name}.") for key in logged), name
    pytest.importorskip("wandb_workspaces")
    workspace = dashboard["built"]("team", "project")
    shown = [y for s in workspace.sections[:-1] for panel in s.panels for y in panel.y]
    assert len(shown) + len(workspace.sections[-1].panels) == len(dashboard["metrics"]())


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
