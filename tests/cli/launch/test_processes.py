"""Jobs in processes of their own: those that do not stop."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from hep2gan.cli.launch import processes


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
