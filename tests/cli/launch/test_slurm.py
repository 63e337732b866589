"""Commands that wait for others: Slurm's tools that do not answer."""

import logging
import signal

import pytest

from hep2gan.cli import ranks
from hep2gan.cli.launch import slurm
from hep2gan.cli.sweeps.jobs import TrainingJob
from hep2gan.cli.sweeps.trainings import run_through_slurm
from hep2gan.errors import Hep2ganError
from hep2gan.training.signals import RunStopped
from tests.helpers.commands import make_program, slurm_settings


def test_a_tool_of_slurm_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "ANSWER_LIMIT", 0.3)
    make_program(tmp_path, monkeypatch, "squeue", "import time; time.sleep(60)")
    with pytest.raises(Hep2ganError, match=r"squeue -h.*did not answer within 0.3 s.*sinfo"):
        slurm._active(["5_1"])


def test_slurm_is_missed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    trainer = {"devices": 1, "num_nodes": 1, "accelerator": "cpu", "share_device": False}
    config = {"run_dir": str(tmp_path / "runs/a"), "doctor": False, "trainer": trainer}
    jobs, options = [TrainingJob(0, (), config)], slurm_settings()
    with pytest.raises(Hep2ganError, match=r"sbatch is not on the path.*hydra/launcher=processes"):
        run_through_slurm(jobs, options)
    options |= {"timeout_min": "long", "setup": "module load cuda", "mem_gb": -1}
    with pytest.raises(Hep2ganError, match=r"3 settings are wrong\n.*hydra.launcher.timeout_min"):
        run_through_slurm(jobs, options)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_sweep_says_which_jobs_slurm_keeps(tmp_path, monkeypatch, caplog):
    make_program(tmp_path, monkeypatch, "sbatch", "")
    ids = [("7_0", tmp_path / "out"), ("7_1", tmp_path / "out")]
    monkeypatch.setattr(slurm, "_submit", lambda *_: ids)
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: None)
    asked = []

    def active(jobs):
        if not any(jobs):
            return set()
        asked.append(jobs)
        if len(asked) > 1:
            raise RunStopped(signal.SIGTERM)
        return {"7_0"}

    monkeypatch.setattr(slurm, "_active", active)
    trainer = {"devices": 1, "num_nodes": 1, "accelerator": "cpu", "share_device": False}
    config = {"name": "a", "seed": 0, "trainer": trainer}
    jobs = [
        TrainingJob(number, (), config | {"run_dir": str(tmp_path / f"runs/{number}")})
        for number in (0, 1)
    ]
    with caplog.at_level(logging.INFO), pytest.raises(RunStopped):
        run_through_slurm(jobs, slurm_settings())
    assert "0 of 2 jobs finished, left:" in caplog.text
    assert "Slurm keeps the jobs that are in its queue: 7_0\n" in caplog.text
    assert "scancel 7_0\n" in caplog.text
    assert "The same command goes on: " in caplog.text


def test_a_tool_of_slurm_that_fails_is_told_in_its_own_words(tmp_path, monkeypatch):
    failing = "import sys; sys.exit('slurm_load_node error: Unable to contact slurm controller')"
    make_program(tmp_path, monkeypatch, "scontrol", failing)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    with pytest.raises(Hep2ganError, match=r"hostnames node\[1-2\] failed \(.*Unable to contact"):
        ranks._slurm_node()
    make_program(
        tmp_path, monkeypatch, "squeue", "import sys; sys.exit('Invalid job id specified')"
    )
    assert slurm._active(["5_1"]) == set()
    (tmp_path / "scontrol").unlink()
    with pytest.raises(Hep2ganError, match="scontrol is not on the path"):
        ranks._slurm_node()


def test_the_machines_of_a_job_are_asked_for(tmp_path, monkeypatch):
    make_program(tmp_path, monkeypatch, "scontrol", "print('node1'); print('node2')")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_JOB_ID", "10012")
    monkeypatch.setenv("SLURM_NODEID", "1")
    assert ranks._slurm_node() == (1, "node1:20012", "10012")


def answers(monkeypatch, *said):
    """What squeue answers, one after the other; time passes while it is waited."""
    clock, answering = [0.0], iter(said)

    def active(jobs):
        answer = next(answering)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(slurm, "_active", active)
    monkeypatch.setattr(slurm.time, "sleep", lambda seconds: clock.append(clock[-1] + seconds))
    monkeypatch.setattr(slurm.time, "monotonic", lambda: clock[-1])


def test_a_controller_that_restarts_ends_no_sweep(monkeypatch, caplog):
    away = Hep2ganError("squeue failed (Unable to contact slurm controller)")
    answers(monkeypatch, {"7", "8"}, *[away] * 80, {"8"}, *[away] * 80, set())
    with caplog.at_level(logging.WARNING):
        assert list(slurm._wait_for_each({0: "7", 1: "8"})) == [0, 1]
    assert "Unable to contact slurm controller). Asking again." in caplog.text


def test_a_controller_that_is_gone_is_told(monkeypatch):
    away = Hep2ganError("squeue failed (Unable to contact slurm controller)")
    answers(monkeypatch, {"7"}, *[away] * 100)
    with pytest.raises(Hep2ganError, match="Unable to contact"):
        list(slurm._wait_for_each({0: "7"}))
