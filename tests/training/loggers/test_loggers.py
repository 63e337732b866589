"""Dashboards: real offline wandb runs and TensorBoard files, read back."""

import dataclasses
import sys

import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.training.loggers import (
    build_loggers,
    logger_session,
    missing_loggers,
    require_logger,
)
from hep2gan.training.loggers.course import save_picture
from hep2gan.training.loggers.local import CsvLogger
from tests.helpers.configs import parsed
from tests.helpers.offline import without_wandb_settings
from tests.helpers.report_fixtures import make_predictions
from tests.helpers.wandb_reader import offline_run

NO_PANELS = dataclasses.replace(make_predictions(), mask=None, probabilities=None)
METRICS = {"test/dice": 0.75, "test/accuracy": 0.5}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "roc.png"
    Image.new("RGB", (8, 6), "purple").save(path)
    return {"roc": path}


@pytest.fixture(autouse=True)
def _no_key(monkeypatch, tmp_path):
    without_wandb_settings(monkeypatch, tmp_path)


@pytest.mark.parametrize("exit_code", [0, 1, 143])
def test_wandb_without_a_key_is_offline_and_complete(tmp_path, picture, exit_code):
    config = parsed("logger=wandb", "study=ablation", "method=without_gm", "seed=3")
    (logger,) = build_loggers(config, tmp_path)
    for epoch in range(2):
        logger.log_metrics(
            {"train/generator/l1": 0.5 / (epoch + 1), "epoch": epoch}, step=epoch * 7
        )
    logger.log_results(METRICS, picture, NO_PANELS)
    logger.finish(exit_code)
    found = offline_run(tmp_path)
    run = found["run"]
    assert (run.run_group, run.job_type, run.project) == ("ablation", "without_gm", "hep2gan")
    assert run.display_name == "without_gm-seed3"
    assert found["config"]["loss"]["beta"] == 10.0
    assert found["config"]["optimizer"]["classifier"]["betas"] == [0.5, 0.999]
    assert "${" not in str(found["config"])
    curve = [(h["epoch"], h["train/generator/l1"]) for h in found["history"] if "epoch" in h]
    assert curve == [(0, 0.5), (1, 0.25)]
    assert found["metrics"]["train/*"] == "epoch"
    assert found["metrics"]["step/*"] == "trainer/global_step"
    assert found["summary"]["test/dice"] == 0.75
    assert any("figure/roc" in key for row in found["history"] for key in row)
    assert found["exit"] == exit_code
    assert found["preempting"] == (exit_code == 143)


def test_tensorboard_holds_metrics_and_figures(tmp_path, picture):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (logger,) = build_loggers(parsed("logger=tensorboard"), tmp_path)
    logger.log_metrics({"train/generator/l1": 0.5}, step=4)
    logger.log_results(METRICS, picture, NO_PANELS)
    logger.finish(0)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/generator/l1")] == [(4, 0.5)]
    assert events.Scalars("test/dice")[0].value == 0.75
    image = events.Images("figure/roc")[0]
    assert (image.width, image.height) == (8, 6)


def test_tensorboard_gets_the_course_of_a_finished_run(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = parsed("logger=tensorboard")
    csv = CsvLogger(tmp_path / "metrics.csv")
    for epoch in range(2):
        csv.log_metrics({"train/generator/l1": 0.5 / (epoch + 1), "epoch": epoch}, step=epoch * 7)
        save_picture(tmp_path, epoch, Image.new("RGB", (8, 6)), "cells")
    assert missing_loggers(config.logger, tmp_path) == ["tensorboard"]
    (logger,) = build_loggers(config, tmp_path, start=sys.maxsize, late=True)
    logger.finish(0)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/generator/l1")]
    assert points == [(0, 0.5), (7, 0.25)]
    assert [event.step for event in events.Images("pictures/epochs")] == [0, 1]
    assert missing_loggers(config.logger, tmp_path) == []
    assert build_loggers(config, tmp_path, start=sys.maxsize, late=True) == []


def test_csv_alone_needs_no_logger(tmp_path):
    assert build_loggers(parsed(), tmp_path) == []
    with logger_session([]):
        pass


@pytest.mark.parametrize("order", ["wandb,tensorboard", "tensorboard,csv,wandb"])
def test_two_loggers_both_write(tmp_path, picture, order):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = parsed(f"logger=[{order}]")
    assert require_logger(config.logger) == "metrics.csv and TensorBoard and wandb, offline"
    loggers = build_loggers(config, tmp_path)
    with logger_session(loggers):
        for logger in loggers:
            logger.log_metrics({"train/generator/l1": 0.5, "epoch": 0}, step=4)
            logger.log_results(METRICS, picture, NO_PANELS)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/generator/l1")] == [(4, 0.5)]
    found = offline_run(tmp_path)
    assert found["summary"]["test/dice"] == events.Scalars("test/dice")[0].value == 0.75
    assert found["exit"] == 0


def test_a_logger_that_cannot_finish_leaves_the_others_to_do_so():
    ended = []

    class Failing:
        def finish(self, exit_code):
            ended.append(exit_code)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"), logger_session([Failing(), Failing()]):
        raise SystemExit(143)
    assert ended == [143, 143]


def test_an_unknown_logger_is_named():
    with pytest.raises(Hep2ganError, match=r"the key logger.wandbs.*use logger.wandb"):
        parsed("+logger.wandbs=true")


class Dead:
    """A run whose process is gone: whatever is asked of it fails as the real one does."""

    project, disabled, step, asked = "hep2gan", True, 0, 0

    def __getattr__(self, name):
        self.asked += 1
        raise ConnectionResetError("Connection lost")


def test_training_goes_on_when_wandbs_process_dies(tmp_path, picture, caplog):
    from hep2gan.training.loggers.wandb import RunWandbLogger

    logger = RunWandbLogger(run := Dead(), tmp_path)
    for step in range(3):
        logger.log_metrics({"train/generator/l1": 0.5, "epoch": 1}, step=step)
    logger.log_results(METRICS, picture, NO_PANELS)
    asked = run.asked
    logger.finish(0)
    assert logger.lost
    assert caplog.text.count("wandb failed (Connection lost)") == 1
    assert (asked, run.asked) == (1, 2)
