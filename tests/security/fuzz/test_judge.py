"""The judge itself: what it lets pass, and that its limits are real."""

import signal
import subprocess
import sys

import pytest
from hypothesis import strategies as st

from hep2gan.errors import Hep2ganError
from tests.security.fuzz.judge import Door, judge


def door(read):
    return Door("made", st.none(), read, lambda result, given: None)


def raising(error, cause=None):
    def read(given, folder):
        raise (error(folder) if callable(error) else error) from cause

    return door(read)


def test_results_and_our_errors_pass(tmp_path):
    assert judge(door(lambda given, folder: 1), None, tmp_path) == "right"
    ours = raising(lambda folder: Hep2ganError(f"{folder}/a is odd", "", "mend it"))
    assert judge(ours, None, tmp_path) == "refused"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (raising(lambda folder: Hep2ganError(f"{folder}/a is odd")), "no fix"),
        (raising(Hep2ganError("it is odd", "", "mend it")), "no file named"),
        (
            raising(lambda folder: Hep2ganError(f"{folder}", "", "mend it"), MemoryError()),
            "more than 2 GiB",
        ),
    ],
)
def test_errors_that_help_nobody_fail(tmp_path, bad, said):
    with pytest.raises(AssertionError, match=said):
        judge(bad, None, tmp_path)


def test_other_errors_are_let_through(tmp_path):
    with pytest.raises(KeyError):
        judge(raising(KeyError("x")), None, tmp_path)


def ended(read, wall=60):
    """How a process ends that judges `read`, under smaller limits."""
    program = f"""
from pathlib import Path
from tests.security.fuzz import judge
from tests.security.fuzz.test_judge import door
judge.CPU_SECONDS, judge.WALL_SECONDS, judge.MEMORY = 1, {wall}, 200 * 1024**2
judge.limit_memory()
judge.judge(door(lambda given, folder: {read}), None, Path("."))
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_a_process_that_spins_waits_or_takes_all_memory_is_ended():
    assert ended("sum(iter(int, 1))").returncode == -signal.SIGPROF
    assert ended("__import__('time').sleep(60)", wall=1).returncode == -signal.SIGALRM
    assert "MemoryError" in ended("bytearray(300 * 1024**2)").stderr
    assert ended("bytearray(10 * 1024**2)").returncode == 0
