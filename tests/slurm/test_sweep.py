"""A sweep through a real Slurm: a job fails, one is killed, one is preempted and goes on."""

import os
import subprocess
import sys
import time

import pytest

from hep2gan.runs.checkpoints import list_checkpoints
from tests.helpers.started import (
    NETS,
    RESTLESS,
    SMALL,
    assert_same_training,
    environment,
    final,
    rows_logged,
    until,
)

pytestmark = pytest.mark.slurm

# Epochs of many batches: a signal comes within one, and hardly ever at the end of it.
LONG = (
    *SMALL, *NETS, *RESTLESS, "data.count=400", "trainer.batch_size=2", "trainer.max_epochs=12",
)  # fmt: skip
SWEEP = (
    *LONG, "study=s", "-m",
    "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30",
    "hydra.launcher.partition=low", "seed=0,1,2", "loss.gaussian_mixture.gamma=0.01,-1",
)  # fmt: skip


def sweep(cluster, place, log):
    for name in ("SLURM_CONF", "PATH"):
        os.environ[name] = cluster.environment[name]
    given = environment() | {name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "hep2gan.cli.train", *SWEEP],
            cwd=place, env=given, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


def job_of(run):
    note = run / "slurm.json"
    return note.read_text().split('"')[3] if note.is_file() else ""


def test_a_sweep_survives_preemption_cancelling_and_a_failing_job(cluster, tmp_path):
    method = "proposed,loss.gaussian_mixture.gamma=0.01"
    runs = [tmp_path / f"runs/s/{method}/seed{seed}" for seed in range(3)]
    undisturbed = [*LONG, "seed=0", "loss.gaussian_mixture.gamma=0.01"]
    alone = subprocess.run(
        [sys.executable, "-m", "hep2gan.cli.train", *undisturbed],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    log = tmp_path / "first.log"
    process = sweep(cluster, tmp_path, log)
    until(lambda: rows_logged(runs[0]) >= 40, process)
    # Both CPUs for another user's urgent job: what runs in the low partition must go.
    preempted = job_of(runs[0])
    urgent = cluster.submit(
        "#!/bin/sh\nsleep 3\n",
        "--output=/dev/null",
        "--partition=high",
        "--ntasks=2",
        "--exclusive",
    )
    cluster.wait_for(preempted, "PENDING", seconds=90)
    cluster.wait_for(urgent)
    assert not (runs[0] / "DONE").exists()
    assert "_batch" in list_checkpoints(runs[0] / "checkpoints")[0].name
    release_waiting(cluster)
    # One job is killed from outside, for good.
    until(lambda: rows_logged(runs[1]) >= 40, process)
    cluster.run("scancel", job_of(runs[1]))
    for _ in range(200):
        if process.poll() is not None:
            break
        release_waiting(cluster)
        time.sleep(1)
    shown = log.read_text()
    assert process.returncode == 2, shown
    assert "4 of 6 jobs failed" in shown
    assert (runs[0] / "DONE").exists(), shown
    assert not (runs[1] / "DONE").exists()
    assert (runs[2] / "DONE").exists()
    assert "Resuming" in (runs[0] / "train.log").read_text()
    assert_same_training(final(runs[0]), final(tmp_path / "runs/default/proposed/seed0"))
    finished = (runs[0] / "DONE").stat().st_mtime_ns
    second = tmp_path / "second.log"
    assert sweep(cluster, tmp_path, second).wait(timeout=200) == 2
    shown = second.read_text()
    assert shown.count("done before") == 2
    assert "3 of 6 jobs failed" in shown
    assert (runs[1] / "DONE").exists()
    assert (runs[0] / "DONE").stat().st_mtime_ns == finished


def release_waiting(cluster):
    """Requeued jobs would wait for two minutes."""
    for job, state in cluster.jobs().items():
        if state == "PENDING":
            subprocess.run(
                ["scontrol", "update", f"JobId={job}", "StartTime=now"],
                env=cluster.environment, check=False, capture_output=True,
            )  # fmt: skip
