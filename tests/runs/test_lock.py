"""Two trainings in one folder: real processes, real locks, and file systems without them."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.lock import OWNER_FILE, Owner, lock_owner, run_lock

HOLD = """
import sys, time
from pathlib import Path
from hep2gan.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that trains in tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(params=["ENOLCK", "ENOSYS"])
def without_locks(monkeypatch, request):
    def flock(*_):
        raise OSError(getattr(errno, request.param), "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def enter(folder):
    with run_lock(folder):
        pass


def test_the_second_is_refused_and_told_who_is_there(tmp_path, other):
    told = rf"in use by process {other.pid} on {os.uname().nodename}, since \d{{4}}-.*Fix: wait"
    with pytest.raises(Hep2ganError, match=told):
        enter(tmp_path)
    assert lock_owner(tmp_path).pid == other.pid
    other.communicate("go\n")
    assert not (tmp_path / OWNER_FILE).exists()
    assert lock_owner(tmp_path) is None
    enter(tmp_path)


def kill(process, folder):
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((folder / OWNER_FILE).read_text())["pid"] == process.pid


def test_a_killed_process_does_not_block(tmp_path, other):
    kill(other, tmp_path)
    check_free(tmp_path)


def test_a_killed_process_does_not_block_without_locks(tmp_path, other, without_locks):
    kill(other, tmp_path)
    check_free(tmp_path)


def check_free(tmp_path):
    assert lock_owner(tmp_path) is None
    with run_lock(tmp_path):
        assert json.loads((tmp_path / OWNER_FILE).read_text())["pid"] == os.getpid()


def test_without_locks_the_written_owner_counts(tmp_path, other, without_locks):
    with pytest.raises(Hep2ganError, match=f"process {other.pid}"):
        enter(tmp_path)
    assert (tmp_path / OWNER_FILE).exists()


def test_a_process_id_that_is_reused_is_another_process(tmp_path, without_locks):
    mine = Owner.current()
    (tmp_path / OWNER_FILE).write_text(json.dumps(mine._replace(start_time="long ago")._asdict()))
    enter(tmp_path)


def test_another_host_blocks_without_locks_unless_it_was_this_slurm_job(
    tmp_path, without_locks, monkeypatch
):
    far = Owner("node7", 1, "2026-01-01 00:00:00", "", "123")
    (tmp_path / OWNER_FILE).write_text(json.dumps(far._asdict()))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(Hep2ganError, match=rf"node7, since 2026.*delete {tmp_path}/run.lock"):
        enter(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "124")
    with pytest.raises(Hep2ganError, match="node7"):
        enter(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    enter(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}'])
def test_half_a_file_is_no_owner(tmp_path, content, without_locks):
    (tmp_path / OWNER_FILE).write_text(content)
    enter(tmp_path)


def test_a_folder_that_cannot_be_written_still_says_who_is_there(tmp_path, other, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "run.lock")

    monkeypatch.setattr("hep2gan.runs.lock.file_lock", refuse)
    assert lock_owner(tmp_path).pid == other.pid


def test_a_note_that_links_elsewhere_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / OWNER_FILE).symlink_to(target)
    (folder / ".run.lock").symlink_to(target)
    enter(folder)
    assert target.read_text() == "mine"


def test_the_lock_ends_when_training_fails(tmp_path):
    with pytest.raises(RuntimeError), run_lock(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_on_windows_no_process_is_asked_by_a_signal_that_would_end_it(tmp_path, monkeypatch):
    monkeypatch.setattr("hep2gan.io.sys.platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill ends a process there"))
    owner = Owner.current()
    assert not owner.has_ended
    assert owner._replace(start_time="another").has_ended
