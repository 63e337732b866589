"""Begin, take up again and end wandb runs: real offline ones, read back."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.training.loggers import build_loggers, exit_code_of, logger_session, wandb_start
from hep2gan.training.loggers.course import save_picture
from hep2gan.training.loggers.identity import holds_run, read_identity, run_name
from hep2gan.training.loggers.local import CsvLogger
from hep2gan.training.loggers.wandb_artifacts import link_to_registry
from hep2gan.training.loggers.weights import LoggedWeights
from hep2gan.training.signals import RunStopped
from tests.helpers.configs import parsed
from tests.helpers.offline import curve, runs, without_wandb_settings
from tests.helpers.wandb_reader import ended_run

PROVENANCE = {"revision": "abc", "parameters": {"generator": 5}, "split": {"train": 7}}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    without_wandb_settings(monkeypatch, tmp_path)


@pytest.fixture
def config():
    return parsed("logger=wandb", "logger.tags=[first,first]", "study=s")


def online(config):
    """The same configuration with logger.mode=online."""
    settings = config.logger.model_copy(update={"mode": "online"})
    return config.model_copy(update={"logger": settings})


def epoch(logger, number, value=0.5, steps=2):
    """What training logs in one epoch."""
    for loop in [logger] if not isinstance(logger, list) else logger:
        for batch in range(steps):
            row = {"step/generator/l1": value, "epoch": number}
            loop.log_metrics(row, step=number * steps + batch)
        row = {"train/generator/l1": value, "val/f1": 1 - value, "lr/generator": 0.1}
        loop.log_metrics(row | {"epoch": number}, step=number * steps + steps - 1)


def test_what_users_filter_by(tmp_path, config):
    config = config.model_copy(update={"name": "proposed,loss.beta=5"})
    (logger,) = build_loggers(config, tmp_path, provenance=PROVENANCE)
    logger.finish(0)
    (found,) = runs(tmp_path)
    run = found["run"]
    assert (run.run_group, run.job_type) == ("s", "proposed")
    assert run.display_name == "proposed,beta=5-seed0"
    assert list(run.tags) == ["first", "icpr2016", "random", "128px"]
    assert found["config"]["provenance"] == PROVENANCE
    assert found["config"]["split"]["kind"] == "random"


def test_names_longer_than_wandb_takes_are_cut(tmp_path, config):
    settings = config.logger.model_copy(update={"tags": ["t" * 100]})
    names = {"name": "n" * 300, "study": "s" * 300}
    config = config.model_copy(update=names | {"logger": settings})
    build_loggers(config, tmp_path)[0].finish(0)
    (found,) = runs(tmp_path)
    assert len(found["run"].display_name) == len(found["run"].run_group) == 128
    assert found["run"].tags[0] == "t" * 64
    assert found["run"].display_name.endswith("n-seed0")


def test_names_of_a_sweep_tell_its_runs_apart(config):
    def named(name, swept=None):
        return run_name(config.model_copy(update={"name": name, "seed": 2}), swept)

    rates = "optimizer.generator.lr=0.00012345,optimizer.classifier.lr=0.02"
    assert named(f"gao,{rates}") == "gao,generator.lr=0.000123,classifier.lr=0.02-seed2"
    assert named("gao,split.fold=1") == "gao,fold=1-seed2"
    chosen = {"loss.alpha": 0.123456789, "loss.beta": 3}
    assert named("proposed,trial-abc12", chosen) == "proposed,alpha=0.123,beta=3-seed2"
    assert named("proposed") == "proposed-seed2"


def test_axes_and_the_values_of_the_chosen_epoch(tmp_path, config):
    (logger,) = build_loggers(config, tmp_path, monitor="val/f1")
    # The second epoch has the best f1, the third the lowest loss.
    for number, (loss, f1) in enumerate(((0.5, 0.3), (0.4, 0.8), (0.2, 0.6), (0.1, math.nan))):
        logger.log_metrics({"val/f1": f1, "val/dice": loss, "epoch": number}, step=number)
        row = {"train/generator/l1": loss, "lr/generator": 0.1, "epoch": number}
        logger.log_metrics(row, step=number)
    logger.finish(0)
    (found,) = runs(tmp_path)
    axes = {f"{group}/*": "epoch" for group in ("train", "val", "lr", "gm", "speed", "pictures")}
    assert axes.items() <= found["metrics"].items()
    assert found["metrics"]["step/*"] == "trainer/global_step"
    best = {k: v for k, v in found["summary"].items() if k.startswith("best/")}
    assert best == {
        "best/epoch": 1, "best/val/f1": 0.8, "best/val/dice": 0.4, "best/train/generator/l1": 0.4,
    }  # fmt: skip
    # Scalars under their own names: a sweep reads them.
    assert found["summary"]["lr/generator"] == 0.1
    assert math.isnan(found["summary"]["val/f1"])


def test_without_a_validation_part_the_last_epoch_is_chosen(tmp_path, config):
    (logger,) = build_loggers(config, tmp_path)
    for number, loss in enumerate((0.5, 0.1, 0.4)):
        logger.log_metrics({"train/generator/l1": loss, "epoch": number}, step=number)
    logger.finish(0)
    (found,) = runs(tmp_path)
    assert found["summary"]["best/epoch"] == 2
    assert found["summary"]["best/train/generator/l1"] == 0.4


def test_the_data_is_used_by_its_fingerprint(tmp_path, config):
    data = {"name": "mine", "fingerprint": "f" * 64, "cells": 12}
    (logger,) = build_loggers(config, tmp_path, provenance={"data": data})
    logger.finish(0)
    (found,) = runs(tmp_path)
    (used,) = found["artifacts"]
    assert (used.type, used.name, used.use_after_commit) == (
        "dataset",
        "data-mine-ffffffffffff",
        True,
    )
    assert json.loads(used.metadata) == data
    (file,) = used.manifest.contents
    assert json.loads(Path(file.local_path).read_text()) == data


def made_weights(folder, text="a: 1\n"):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(text)
    known = {"study": "s", "name": "proposed,loss.beta=5", "seed": 0, "epoch": 1}
    return LoggedWeights(folder, ("best", "last"), 1, known)


def test_weights_are_logged_once_and_linked_online_only(tmp_path, config, caplog):
    settings = config.logger.model_copy(update={"registry": "wandb-registry-model/hep2gan"})
    config = config.model_copy(update={"logger": settings})
    (logger,) = build_loggers(config, tmp_path)
    with caplog.at_level("INFO"):
        for _ in range(2):
            logger.log_weights(made_weights(tmp_path / "w"))
    # What was uploaded is on record for an online run that resumes.
    assert read_identity(tmp_path, "wandb")["weights"].keys() == {"best", "last"}
    logger.log_weights(made_weights(tmp_path / "w", "a: 2\n"))
    logger.finish(0)
    (found,) = runs(tmp_path)
    first, second = found["artifacts"]
    assert (first.type, first.name) == ("model", "s-proposed-loss.beta-5-seed0")
    assert {"best", "last"} <= set(first.aliases)
    assert first.digest != second.digest
    told = "linked to wandb-registry-model/hep2gan online only: after `wandb sync`, open the"
    assert told in caplog.text
    assert holds_run(tmp_path, "wandb")


def test_weights_that_cannot_be_linked_are_logged_all_the_same(caplog):
    def refuses(artifact, target):
        raise ValueError("no such registry")

    run = SimpleNamespace(offline=False, link_artifact=refuses)
    link_to_registry(run, None, "wandb-registry-model/mine")
    assert "not linked to wandb-registry-model/mine (no such registry)" in caplog.text


def test_an_alarm_is_raised_once_a_kind_and_run(tmp_path, config):
    csv = CsvLogger(tmp_path / "metrics.csv")
    (logger,) = build_loggers(config, tmp_path)
    epoch([csv, logger], 0)
    for text in ("Epoch 0: bad.", "Epoch 1: bad again."):
        csv.log_alarm("discriminator_won", text)
        logger.log_alarm("discriminator_won", text)
    logger.finish(1)
    (first,) = runs(tmp_path)
    # A new offline run is complete by itself, and knows what was told already.
    (logger,) = build_loggers(config, tmp_path, start=2)
    logger.log_alarm("discriminator_won", "Epoch 2: bad.")
    logger.log_alarm("nonfinite_loss", "Epoch 2: not finite.")
    logger.finish(0)
    (second,) = runs(tmp_path)
    told = [("Discriminator won", "Epoch 0: bad.", "WARN")]
    assert [(a.title, a.text, a.level) for a in first["alerts"]] == told
    told.append(("Nonfinite loss", "Epoch 2: not finite.", "WARN"))
    assert [(a.title, a.text, a.level) for a in second["alerts"]] == told
    assert second["summary"]["alarm/discriminator_won"] == "Epoch 0: bad."


def pictures(found):
    """Epoch and caption of each picture of a run."""
    rows = [row for row in found["history"] if "pictures/epochs.path" in row]
    return [(row["epoch"], row["pictures/epochs.caption"]) for row in rows]


def test_two_jobs_in_one_process_make_two_runs(tmp_path, config):
    (first,) = build_loggers(config, tmp_path / "a")
    epoch(first, 0)
    # A job that died before it could close its run.
    (second,) = build_loggers(config.model_copy(update={"seed": 1}), tmp_path / "b")
    epoch(second, 0, 0.25)
    second.finish(0)
    first.finish(1)
    (a,), (b,) = runs(tmp_path / "a"), runs(tmp_path / "b")
    assert a["run"].run_id != b["run"].run_id
    assert (a["exit"], b["exit"]) == (1, 0)
    assert curve(a, "train/generator/l1") == [(0, 0.5)]
    assert curve(b, "train/generator/l1") == [(0, 0.25)]
    assert wandb.run is None


def test_an_id_in_the_environment_does_not_join_two_jobs(tmp_path, config, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "fixed")
    for seed in (0, 1):
        build_loggers(config.model_copy(update={"seed": seed}), tmp_path / str(seed))[0].finish(0)
    (a,), (b,) = runs(tmp_path / "0"), runs(tmp_path / "1")
    assert len({a["run"].run_id, b["run"].run_id, "fixed"}) == 3


def test_a_resumed_offline_run_is_complete_by_itself(tmp_path, config):
    csv = CsvLogger(tmp_path / "metrics.csv")
    (logger,) = build_loggers(config, tmp_path)
    for number, value in enumerate((0.5, 0.4, 0.9)):
        epoch([csv, logger], number, value)
        caption = ("first", "second", "third")[number]
        logger.log_picture(save_picture(tmp_path, number, Image.new("RGB", (8, 8)), caption))
    # The third epoch has no checkpoint: it will be trained again.
    with pytest.raises(RuntimeError, match="power cut"), logger_session([logger]):
        raise RuntimeError("power cut")
    (again,) = build_loggers(config, tmp_path, start=4, monitor="val/f1")
    csv = CsvLogger(tmp_path / "metrics.csv", 4)
    epoch([csv, again], 2, 0.5)
    again.finish(0)
    (found,) = runs(tmp_path)
    assert curve(found, "train/generator/l1") == [(0, 0.5), (1, 0.4), (2, 0.5)]
    assert pictures(found) == [(0, "first"), (1, "second")]
    steps = curve(found, "step/generator/l1", "trainer/global_step")
    assert [step for step, _ in steps] == [0, 1, 2, 3, 4, 5]
    rows = [row["epoch"] for row in found["history"] if "pictures/epochs.path" not in row]
    assert rows == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found["summary"]["best/epoch"] == 1
    assert found["summary"]["best/val/f1"] == 0.6
    (old,) = (tmp_path / "wandb/superseded").glob("offline-run-*/run-*.wandb")
    old = ended_run(old)
    assert old["exit"] == 1
    assert old["run"].run_id != found["run"].run_id
    assert old["run"].run_group == found["run"].run_group


KILLED = """
import os, signal, sys
from pathlib import Path
from hep2gan.training.loggers import build_loggers
from hep2gan.training.loggers.local import CsvLogger
from tests.helpers.configs import parsed
folder = Path(sys.argv[1])
(logger,) = build_loggers(parsed("logger=wandb"), folder)
for loop in (CsvLogger(folder / "metrics.csv"), logger):
    loop.log_metrics({"train/generator/l1": 0.5, "epoch": 0}, step=0)
print("logged", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.integration
def test_a_killed_process_leaves_the_next_start_alone(tmp_path, config):
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (tmp_path / "wandb/id.json").write_text("{half")
    (logger,) = build_loggers(config, tmp_path, start=1)
    epoch(logger, 1, 0.4)
    logger.finish(0)
    (found,) = runs(tmp_path)
    assert curve(found, "train/generator/l1") == [(0, 0.5), (1, 0.4)]
    assert len(list((tmp_path / "wandb/superseded").iterdir())) == 1


AGENT = """
import sys
import time
from pathlib import Path
from hep2gan.training.loggers import build_loggers
from tests.helpers.configs import parsed
config = parsed("logger=wandb", "loss.beta=5")
build_loggers(config, Path(sys.argv[1]))[0].finish(0)
"""


@pytest.mark.integration
def test_inside_an_agent_its_run_is_joined(tmp_path):
    # In a process of its own, as an agent starts it: wandb reads the variables once.
    root = Path(__file__).parents[3]
    given = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "trial7", "WANDB_PROJECT": "theirs"}
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("wandb_version: 1\nloss.beta:\n  value: 5.123456789\n")
    given |= {"WANDB_SWEEP_PARAM_PATH": str(chosen)}
    done = subprocess.run(
        [sys.executable, "-c", AGENT, tmp_path],
        cwd=root, capture_output=True, text=True, env=os.environ | given,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = runs(tmp_path)
    run = found["run"]
    assert (run.run_id, run.sweep_id, run.project) == ("trial7", "sweep1", "theirs")
    assert found["config"]["loss"]["beta"] == 5
    assert run.display_name == "proposed,beta=5.12-seed0"
    assert "Ignoring" not in done.stderr


@pytest.fixture
def begun(monkeypatch):
    """What wandb.init is asked for, answered by a run that exists online."""
    asked = []

    def init(**given):
        asked.append(given)
        run = SimpleNamespace(id=given.get("id"), project=given["project"], summary={})
        run.resumed = len(asked) > 1
        run.rows, run.define_metric = [], lambda *_, **__: None
        run.log = run.rows.append
        begun_runs.append(run)
        return run

    begun_runs = []
    monkeypatch.setattr(wandb, "init", init)
    return asked, begun_runs


def test_an_online_run_goes_on_under_its_id(tmp_path, config, begun):
    asked, made = begun
    config = online(config)
    csv = CsvLogger(tmp_path / "metrics.csv")
    epoch([csv, *build_loggers(config, tmp_path)], 0, 0.3)
    (again,) = build_loggers(config, tmp_path, start=2, monitor="val/f1")
    assert asked[0]["id"] == asked[1]["id"]
    assert {given["resume"] for given in asked} == {"allow"}
    # Its rows are there already, but its chosen epoch must not be overwritten by a worse one.
    assert made[1].rows == []
    epoch(again, 1, 0.6)
    assert not made[1].summary
    epoch(again, 2, 0.1)
    assert made[1].summary == {
        "best/epoch": 2, "best/train/generator/l1": 0.1, "best/val/f1": 0.9,
    }  # fmt: skip


def test_going_online_takes_the_offline_rows_along(tmp_path, config, begun, monkeypatch):
    asked, made = begun
    csv = CsvLogger(tmp_path / "metrics.csv")
    epoch([csv, *build_loggers(config, tmp_path)], 0, 0.3)
    made.clear()
    asked.clear()
    config = online(config)
    old = json.loads((tmp_path / "wandb/id.json").read_text())["id"]
    build_loggers(config, tmp_path, start=2)
    assert asked[0]["id"] != old
    assert [row["train/generator/l1"] for row in made[0].rows if "train/generator/l1" in row] == [
        0.3
    ]


def test_the_mode_is_asked_for_or_follows_the_key(config, monkeypatch):
    settings = config.logger
    assert wandb_start._mode(settings) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert wandb_start._mode(settings) == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_start._mode(settings) == "offline"
    assert wandb_start._mode(online(config).logger) == "online"


def test_only_the_first_rank_begins_a_run(tmp_path, config):
    assert build_loggers(config, tmp_path, rank=1) == []
    assert not list(tmp_path.iterdir())


def test_a_failing_wandb_says_what_to_do(tmp_path, config, monkeypatch):
    def init(**_):
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(Hep2ganError, match=r"no route.*logger.mode=offline"):
        build_loggers(config, tmp_path)


def test_exit_codes():
    codes = {
        RunStopped(signal.SIGTERM): 143, RunStopped(signal.SIGHUP): 129, SystemExit(None): 0,
        SystemExit("x"): 1, KeyboardInterrupt(): 130, ValueError(): 1,
    }  # fmt: skip
    assert {exit_code_of(error) for error in codes} == set(codes.values())
    assert all(exit_code_of(error) == code for error, code in codes.items())


def test_a_job_that_sigterm_stops_is_preempted(tmp_path, config):
    (logger,) = build_loggers(config, tmp_path)
    with pytest.raises(SystemExit), logger_session([logger]):
        raise RunStopped(signal.SIGTERM)
    (found,) = runs(tmp_path)
    assert found["preempting"]
    assert found["exit"] == 143


def stop_and_wait(stop):
    # As wandb does for early_terminate, or a button on its page.
    stop()
    time.sleep(5)


def test_a_run_that_the_server_stopped_is_not_handed_out_again(tmp_path, config):
    (logger,) = build_loggers(config, tmp_path)
    stop = logger.experiment.settings.stop_fn
    # Workers of a test run, and commands behind nohup, ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stop_and_wait(stop)
    finally:
        signal.signal(signal.SIGINT, before)
    logger.finish(143)
    (found,) = runs(tmp_path)
    assert not found["preempting"]
    assert found["exit"] == 143


def test_the_end_of_a_run_has_a_limit(tmp_path, config, monkeypatch, caplog):
    monkeypatch.delenv("WANDB_FINISH_TIMEOUT", raising=False)
    (logger,) = build_loggers(config, tmp_path)
    assert logger.experiment.settings.finish_timeout == 600
    run, folder = logger.experiment, Path(logger.experiment.dir).parent
    monkeypatch.setattr(logger, "_experiment", SimpleNamespace(dir=run.dir, finish=never_ends))
    logger.finish(0)
    assert f"`wandb sync {folder}` sends it" in caplog.text
    assert not logger.lost
    run.finish()


def never_ends(exit_code):
    raise TimeoutError("Timed out finishing run.")


def test_the_users_limit_counts(tmp_path, config, monkeypatch):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "5")
    (logger,) = build_loggers(config, tmp_path)
    assert logger.experiment.settings.finish_timeout == 5
    logger.finish(0)
