"""Runs at MLflow: a real store in a file, read back with its client."""

import json
import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.training.loggers import (
    build_loggers,
    holds_run,
    missing_loggers,
    require_logger,
)
from hep2gan.training.loggers.course import save_picture
from hep2gan.training.loggers.local import CsvLogger
from hep2gan.training.loggers.weights import LoggedWeights
from tests.helpers.configs import parsed
from tests.helpers.report_fixtures import make_predictions

mlflow = pytest.importorskip("mlflow")
DATA = {"name": "mine", "fingerprint": "f" * 64, "cells": 12}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all: its tables take seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'shared.db'}"


@pytest.fixture
def config(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return parsed("logger=mlflow", f"logger.tracking_uri={store}", "study=s", "seed=3")


@pytest.fixture
def client(store):
    return mlflow.MlflowClient(store)


def epoch(loggers, number, loss, f1, steps=2):
    """What training logs in one epoch."""
    for logger in loggers:
        for batch in range(steps):
            row = {"step/generator/l1": loss, "epoch": number}
            logger.log_metrics(row, step=number * steps + batch)
        last = number * steps + steps - 1
        logger.log_metrics({"val/f1": f1, "val/dice/Nucleolär (1+)": f1, "epoch": number}, last)
        logger.log_metrics({"train/generator/l1": loss, "epoch": number}, last)


def course(client, logger, name):
    return [(m.step, m.value) for m in client.get_metric_history(logger.run_id, name)]


def test_a_run_holds_parameters_curves_alarms_results_and_weights(tmp_path, config, client):
    folder = tmp_path / "run"
    (logger,) = build_loggers(config, folder, provenance={"data": DATA}, monitor="val/f1")
    for number, (loss, f1) in enumerate(((0.5, 0.3), (0.4, 0.8), (0.1, 0.6))):
        epoch([logger], number, loss, f1)
    logger.log_alarm("discriminator_won", "Epoch 1: bad.")
    logger.log_alarm("discriminator_won", "Epoch 2: bad again.")
    logger.log_picture(save_picture(folder, 1, Image.new("RGB", (8, 8)), "cells"))
    made = make_predictions()
    (tmp_path / "roc.png").write_bytes((folder / "pictures/epoch0002.png").read_bytes())
    logger.log_results({"test/dice": 0.75}, {"roc": tmp_path / "roc.png"}, made)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/config.yaml").write_text("a: 1\n")
    logger.log_weights(LoggedWeights(tmp_path / "w", ("best", "last"), 2, {"seed": 3}))
    logger.finalize("success")
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    assert not holds_run(folder, "mlflow")
    logger.finish(0)
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "proposed-seed3")
    assert holds_run(folder, "mlflow")
    assert missing_loggers(config.logger, folder) == []
    other = config.logger.model_copy(update={"tracking_uri": f"sqlite:///{tmp_path / 'all.db'}"})
    assert missing_loggers(other, folder) == ["mlflow"]
    assert course(client, logger, "train/generator/l1") == [(0, 0.5), (1, 0.4), (2, 0.1)]
    steps = course(client, logger, "step/generator/l1")
    assert [step for step, _ in steps] == [0, 1, 2, 3, 4, 5]
    assert course(client, logger, "val/dice/Nucleol_e4_r _28_1_2b__29_")[1] == (1, 0.8)
    assert course(client, logger, "best/train/generator/l1") == [(1, 0.4)]
    assert run.data.metrics["best/epoch"] == 1
    assert run.data.metrics["test/dice"] == 0.75
    assert run.data.params["loss.beta"] == "10.0"
    assert run.data.params["provenance.data.cells"] == "12"
    tags = run.data.tags
    assert tags["alarm/discriminator_won"] == "Epoch 1: bad."
    assert (tags["study"], tags["method"], tags["seed"]) == ("s", "proposed", "3")
    assert tags["weights.best"] == tags["weights.last"] == "weights/best (epoch 3)"
    used = run.inputs.dataset_inputs[0].dataset
    assert json.loads(used.source) == DATA
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    # Beside the store, which all runs share, not in the folder of the first of them.
    assert folder not in artifacts.parents
    assert (artifacts / "weights/best/config.yaml").read_text() == "a: 1\n"
    assert (artifacts / "figures/roc.png").is_file()
    assert len((artifacts / "test/predictions.csv").read_text().splitlines()) == len(made.id) + 1


def test_a_resumed_run_holds_all_epochs_and_the_former_is_deleted(tmp_path, config, client):
    csv = CsvLogger(tmp_path / "metrics.csv")
    (first,) = build_loggers(config, tmp_path)
    for number in range(3):
        epoch([csv, first], number, 0.5 - number / 10, 0.5)
    csv.log_alarm("nonfinite_loss", "Epoch 2: bad.")
    first.finish(143)
    assert client.get_run(first.run_id).info.status == "KILLED"
    # The third epoch has no checkpoint: it will be trained again.
    (again,) = build_loggers(config, tmp_path, start=4)
    epoch([CsvLogger(tmp_path / "metrics.csv", 4), again], 2, 0.9, 0.5)
    again.finish(1)
    assert course(client, again, "train/generator/l1") == [(0, 0.5), (1, 0.4), (2, 0.9)]
    assert len(course(client, again, "step/generator/l1")) == 6
    assert client.get_run(again.run_id).data.tags["alarm/nonfinite_loss"] == "Epoch 2: bad."
    assert client.get_run(again.run_id).info.status == "FAILED"
    assert client.get_run(first.run_id).info.lifecycle_stage == "deleted"
    assert not holds_run(tmp_path, "mlflow")


def test_a_step_does_not_wait_for_the_store(tmp_path, config, monkeypatch):
    (logger,) = build_loggers(config, tmp_path)
    asked = []
    monkeypatch.setattr(logger.experiment, "log_batch", lambda *_, **given: asked.append(given))
    logger.log_metrics({"step/generator/l1": 0.5, "epoch": 0}, step=0)
    logger.log_metrics({"val/f1": 0.5, "epoch": 0}, step=0)
    assert not asked
    logger.log_metrics({"train/generator/l1": 0.5, "epoch": 0}, step=0)
    (batch,) = asked
    assert [m.key for m in batch["metrics"]] == [
        "step/generator/l1",
        "val/f1",
        "train/generator/l1",
    ]


def test_training_goes_on_when_the_store_fails(tmp_path, config, monkeypatch, caplog):
    (logger,) = build_loggers(config, tmp_path)

    def fails(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(logger.experiment, "log_batch", fails)
    for number in range(3):
        epoch([logger], number, 0.5, 0.5)
    logger.finish(0)
    assert caplog.text.count("MLflow failed (disk full)") == 1
    assert not holds_run(tmp_path, "mlflow")


def test_nothing_is_said_on_a_normal_start(tmp_path, config, caplog, recwarn):
    with caplog.at_level(logging.INFO):
        build_loggers(config, tmp_path)[0].finish(0)
    # Else the next run of this process would go to this one's store.
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert not recwarn.list


def test_where_runs_go(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = parsed("logger=mlflow").logger
    assert require_logger(own) == "metrics.csv and MLflow, in mlflow.db of the run"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(Hep2ganError, match="cannot be reached") as caught:
        require_logger(own)
    assert "secret" not in str(caught.value)
    with pytest.raises(Hep2ganError, match="MLFLOW_TRACKING_URI") as caught:
        require_logger(parsed("logger=mlflow", "logger.tracking_uri='http://a:secret@b'").logger)
    assert "secret" not in str(caught.value)
