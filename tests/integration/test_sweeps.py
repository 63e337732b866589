"""Sweeps of real jobs, of which some fail or are killed."""

import os
import re
import signal
import subprocess
import time

import pytest

from hep2gan.cli.sweeps.compose import jobs_from_overrides
from hep2gan.cli.sweeps.jobs import TrainingJob
from hep2gan.cli.sweeps.trainings import run_through_slurm
from hep2gan.runs.checkpoints import list_checkpoints
from tests.helpers.commands import make_program, slurm_settings
from tests.helpers.configs import composed
from tests.helpers.started import NETS, SMALL, environment, train, until

SWEEP = (
    *SMALL, *NETS, "trainer.max_epochs=2", "study=s", "-m",
    "loss.gaussian_mixture.gamma=0.01,0.1,-1",
)  # fmt: skip


def test_a_sweep_with_a_failing_and_a_killed_job_is_completed_by_a_second_launch(tmp_path):
    """Three jobs: gamma=-1 fails; one of the others is killed."""
    process = train(tmp_path, *SWEEP, wait=False)
    first = tmp_path / "runs/s/proposed,loss.gaussian_mixture.gamma=0.01/seed0"
    until(lambda: list_checkpoints(first / "checkpoints"), process)
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    shown = process.communicate(timeout=300)[0]
    assert process.returncode == 2
    assert "Error executing job" not in shown
    tail = shown.strip().splitlines()[-4:]
    failing = "runs/s/proposed,loss.gaussian_mixture.gamma=-1/seed0"
    assert "2 of 3 jobs failed" in tail[0]
    assert "gamma=0.01/seed0: ended by SIGKILL" in tail[1]
    assert f"{failing}: exit status 2; error: " in tail[2]
    assert f"(log: {failing}/output.log)" in tail[2]
    done = sorted(tmp_path.glob("runs/s/*/seed0/DONE"))
    assert len(done) == 1
    for run in done:
        assert re.search(
            rf"^.*0\.\d{{4}} .*{re.escape(run.parent.parent.name)}/seed0$", shown, re.M
        )
    assert "hep2gan-report runs/s\n" in shown
    known = jobs_from_overrides([word for word in SWEEP if word != "-m"])
    assert sorted(tmp_path / job.run.path for job in known) == sorted(
        tmp_path.glob("runs/s/*/seed0")
    )
    before = {path: path.stat().st_mtime_ns for path in done}
    again = train(tmp_path, *SWEEP, check=False)
    assert again.returncode == 2
    assert again.output.count("done before") == 1
    assert "Resuming" in (first / "train.log").read_text()
    assert (first / "DONE").exists()
    assert {path: path.stat().st_mtime_ns for path in done} == before


@pytest.mark.integration
def test_a_sweep_that_is_stopped_stops_its_jobs_which_save(tmp_path):
    sweep = (*SMALL, *NETS, "trainer.max_epochs=40", "study=s", "-m", "seed=0,1")
    process = train(tmp_path, *sweep, "hydra.launcher.slots=2", wait=False)
    runs = [tmp_path / f"runs/s/proposed/seed{seed}" for seed in (0, 1)]
    until(lambda: all(list_checkpoints(run / "checkpoints") for run in runs), process)
    process.terminate()
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 143
    assert "0 of 2 jobs finished, left:" in shown
    assert shown.count(".ckpt is saved\n") == 2
    assert "The same command goes on: hep2gan-train -m hydra.launcher.slots=2 data=" not in shown
    assert "The same command goes on: hep2gan-train -m data=phantom" in shown
    time.sleep(0.2)
    sizes = [(run / "metrics.csv").stat().st_size for run in runs]
    time.sleep(1)
    assert sizes == [(run / "metrics.csv").stat().st_size for run in runs]
    assert not any((run / "DONE").exists() for run in runs)


@pytest.mark.integration
def test_a_wrong_setting_of_one_job_is_named_with_its_key(tmp_path):
    swept = ("-m", "split.kind=random,whole", "doctor=true", "study=k")
    process = train(tmp_path, *SMALL, *NETS, *swept, check=False)
    assert process.returncode == 2
    assert "2 jobs checked: 1 can start, 1 cannot; nothing was trained" in process.output
    assert "split.kind is 'whole': it must be one of random, block" in process.output
    process = train(tmp_path, *SMALL, *NETS, "-m", "seed=0,1", "trainer.devices=two", check=False)
    assert process.output.endswith(
        "error: trainer.devices is 'two': it must be a whole number, 1 or more."
        " Fix: set trainer.devices=1, for example.\n"
    )


@pytest.mark.integration
def test_the_doctor_looks_at_jobs_for_slurm_from_here(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    make_program(tmp_path, monkeypatch, "sbatch", "")
    for kind, problem in (("random", None), ("whole", "split.kind is 'whole'")):
        config = composed("train", *SMALL, *NETS, "trainer.accelerator=gpu", f"split.kind={kind}")
        config["doctor"] = True
        with caplog.at_level("WARNING"):
            (outcome,) = run_through_slurm([TrainingJob(0, (), config)], slurm_settings())
        assert "GPUs of the nodes" in caplog.text
        assert (outcome.problem is None) == (problem is None), outcome.problem
        assert problem is None or problem in outcome.problem
    assert [path.name for path in tmp_path.iterdir()] == ["sbatch"]


OPTUNA = (
    *SMALL, *NETS, "trainer.max_epochs=1", "study=o", "-m", "hydra/sweeper=optuna",
    "hydra.sweeper.n_trials=2", "split.validation_fraction=0.2",
)  # fmt: skip


@pytest.mark.integration
@pytest.mark.slow
def test_optuna_optimises_and_goes_on_after_a_restart(tmp_path):
    optuna = pytest.importorskip("optuna")
    refused = train(tmp_path, *OPTUNA, "split.validation_fraction=0", check=False)
    assert "split.validation_fraction=0.1" in refused.output
    beside = train(tmp_path, *OPTUNA, "study=memory")
    assert len(list(tmp_path.glob("runs/memory/*/seed0/DONE"))) == 2, beside.output
    storage = f"sqlite:///{tmp_path}/optuna.db"
    for _ in range(2):
        train(tmp_path, *OPTUNA, f"hydra.sweeper.storage={storage}")
    study = optuna.load_study(study_name="o", storage=storage)
    assert len(study.trials) == 2
    assert len(list(tmp_path.glob("runs/o/*/seed0/DONE"))) == 2
    assert study.best_value == max(trial.value for trial in study.trials)


@pytest.mark.integration
def test_the_doctor_looks_once_at_what_optuna_would_vary(tmp_path):
    pytest.importorskip("optuna")
    looked = train(tmp_path, *OPTUNA, "doctor=true")
    assert looked.output.count("started") == 1
    assert "1 job checked: 1 can start, 0 cannot; nothing was trained" in looked.output
    assert not (tmp_path / "runs").exists()
    also = ("optimized_metric=val/dcie", "method=resnet50")
    wrong = train(tmp_path, *OPTUNA, "doctor=true", "loss.pixel=l3", *also, check=False)
    assert wrong.returncode == 2
    assert "loss.pixel is 'l3'" in wrong.output
    assert "optimized_metric is val/dcie" in wrong.output
    assert "loss.beta has no effect in 1 of 1 job: no generator is trained" in wrong.output
    assert not (tmp_path / "runs").exists()
