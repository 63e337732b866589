"""Jobs in processes of their own: those that do not stop."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from hep2gan.cli.launch import processes
from hep2gan.cli.sweeps.jobs import TrainingJob


def test_what_is_noted_of_several_jobs_is_kept_once_with_its_jobs(tmp_path):
    output, notes = tmp_path / "output.log", {}
    output.write_text("ok a\nnote b\nskipped c\n\nproblem d\nnote e\n")
    for number in (0, 2):
        job = TrainingJob(number, (), {})
        assert processes._check_problem(job, 2, output, notes) == "d\nnote e"
    assert {line: [job.number for job in jobs] for line, jobs in notes.items()} == {
        "note b": [0, 2],
        "skipped c": [0, 2],
    }


def test_a_job_that_does_not_stop_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "STOP_LIMIT", 0.2)
    code = "from signal import *; signal(SIGTERM, SIG_IGN); print(1, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    running = {0: processes._Process(None, process, 0.0, Path(), ExitStack())}
    with pytest.raises(KeyboardInterrupt), processes._stop_together(running):
        raise KeyboardInterrupt
    assert process.wait() == -signal.SIGKILL
    process.stdin.close()
    process.stdout.close()
