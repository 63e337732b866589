"""Faults while a run runs, the real ones: each is told with its fix, and none costs the run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import lightning as L
import pytest

from hep2gan.errors import Hep2ganError, from_os_error
from hep2gan.io import atomic_write
from hep2gan.runs.checkpoints import list_checkpoints
from hep2gan.training.callbacks.metrics import ThroughputMonitor
from tests.helpers import tiny
from tests.helpers.full_disk import divert, fill, make_read_only, needs_full_device, small_disk
from tests.helpers.started import (
    NETS,
    ROOT,
    SMALL,
    assert_same_training,
    environment,
    final,
    rows_logged,
    train,
    until,
)
from tests.integration.test_stopping import children
from tests.training.test_module import Rows, fit

LONG = (*SMALL, *NETS, "trainer.max_epochs=8")
STORE = "phantom_60_0_lab0_32"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an undisturbed run."""
    folder = tmp_path_factory.mktemp("faults")
    train(folder, *LONG, "study=whole")
    return folder


@pytest.fixture(scope="module")
def whole(place):
    return final(place / "runs/whole/proposed/seed0")


@contextmanager
def held_in_training(place, run, *options):
    """A run that stands still after a few batches, and goes on after the block."""
    process = train(place, *LONG, *options, wait=False)
    try:
        # As soon as the first checkpoint is there: none is being written then.
        until(lambda: list_checkpoints(run / "checkpoints"), process)
        process.send_signal(signal.SIGSTOP)
        yield process
        process.send_signal(signal.SIGCONT)
        process.output = process.communicate(timeout=120)[0]
    finally:
        process.kill()


@pytest.mark.integration
@pytest.mark.slow
def test_a_read_only_run_folder_is_told_at_once(place, tmp_path):
    with small_disk(tmp_path / "disk", 8) as disk:
        (disk / "started/proposed/seed0").mkdir(parents=True)
        make_read_only(disk)
        for study in ("new", "started"):
            for doctor in ("false", "true"):
                options = (f"runs={disk}", f"study={study}", f"doctor={doctor}")
                process = train(place, *LONG, *options, check=False)
                assert process.returncode == 2, process.output
                assert "Read-only file system" in process.output
                assert "choose another place" in process.output
                assert "Traceback" not in process.output


@pytest.mark.integration
@pytest.mark.slow
def test_a_disk_that_fills_up_stops_the_run_which_goes_on_later(place, whole, tmp_path):
    with small_disk(tmp_path / "disk", 40) as disk:
        options = (f"runs={disk}/runs", "study=filled")
        run = disk / "runs/filled/proposed/seed0"
        with held_in_training(place, run, *options) as process:
            filler = fill(disk)
        assert process.returncode == 2, process.output
        assert "No space left on device" in process.output
        assert "the same command again" in process.output
        told = process.output[process.output.rindex("error: ") :]
        assert "Traceback" not in told
        assert not (run / "DONE").exists()
        again = train(place, *LONG, *options, check=False)
        assert again.returncode == 2
        assert "the run takes up to" in again.output or "No space left" in again.output
        filler.unlink()
        train(place, *LONG, *options)
        assert_same_training(final(run), whole)


@pytest.mark.integration
def test_no_room_for_a_run_is_told_before_it_starts(place, tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        process = train(place, *LONG, f"runs={disk}", check=False)
        assert process.returncode == 2
        assert "0.00 GB free: the run takes up to 0.02 GB more" in process.output


@pytest.mark.integration
@needs_full_device
def test_a_report_on_a_full_disk_leaves_nothing(tmp_path):
    divert(tmp_path / "report.html")
    with pytest.raises(OSError, match="No space left") as caught:
        atomic_write(tmp_path / "report.html", "page")
    told = str(from_os_error(caught.value))
    assert told.startswith(f"{tmp_path}/report.html: No space left on device. Fix: free space")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_a_report_command_on_a_full_disk_exits_2(place, tmp_path):
    with small_disk(tmp_path / "disk", 1) as disk:
        fill(disk)
        report = ("-m", "hep2gan.cli.report")
        run = "runs/whole/proposed/seed0"
        process = train(place, run, f"output={disk}/r.html", check=False, command=report)
        assert process.returncode == 2, process.output
        assert f"{disk}/r.html cannot be written (No space left on device)" in process.output
        assert "Traceback" not in process.output
        assert [path.name for path in disk.iterdir()] == ["filler"]


PACK = """
import sys
from pathlib import Path
from types import SimpleNamespace
from hep2gan.data.store import pack

from tests.helpers.raw_sets import cells

# Another process takes the space after it was measured.
pack.shutil.disk_usage = lambda _: SimpleNamespace(free=10**12)
raw, store = (Path(argument) for argument in sys.argv[1:])
try:
    pack.pack_cells(cells(raw, 64), store, size=128, workers=1)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.integration
def test_a_disk_that_fills_up_while_packing_is_told_and_nothing_is_left(tmp_path):
    with small_disk(tmp_path / "disk", 1) as disk:
        done = subprocess.run(
            [sys.executable, "-c", PACK, str(tmp_path / "raw"), str(disk / "store")],
            env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, (done.returncode, done.stderr)
        assert "Hep2ganError" in done.stdout
        assert "store cannot be written (No space left on device)" in done.stdout
        assert list(disk.iterdir()) == []


def test_a_limit_of_file_sizes_is_told(tmp_path):
    code = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from hep2gan.errors import from_os_error\n"
        "from hep2gan.io import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"path = Path({str(tmp_path / 'file')!r})\n"
        "try:\n"
        "    atomic_write(path, bytes(2000))\n"
        "except OSError as error:\n"
        "    print(from_os_error(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert b"file: File too large. Fix: raise the limit of file sizes" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("how", ["touched", "cut off"])
def test_a_store_changed_in_place_reaches_no_checkpoint(place, whole, how):
    name = how.replace(" ", "_")
    store = place / f"stores/{name}"
    shutil.copytree(place / "stores" / STORE, store)
    options = (f"data.store=stores/{name}", f"study={name}")
    run = place / f"runs/{name}/proposed/seed0"
    with held_in_training(place, run, *options) as process:
        image = store / "image.npy"
        before = [path.name for path in list_checkpoints(run / "checkpoints")]
        if how == "touched":
            with image.open("r+b") as file:
                file.seek(5000)
                file.write(bytes(3000))
        else:
            os.truncate(image, 4096)
    if how == "touched":
        assert process.returncode == 2, process.output
        assert "image.npy was changed while the run used it" in process.output
    else:
        assert process.returncode == 2, process.output
        told = process.output[process.output.rindex("error: ") :]
        assert "image.npy was changed" in told or "image.npy was truncated" in told
        assert "its last checkpoint" in told
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == before
    shutil.copy(place / "stores" / STORE / "image.npy", image)
    train(place, *LONG, *options)
    assert_same_training(final(run), whole)


@pytest.mark.integration
@pytest.mark.slow
def test_a_store_deleted_under_a_run_does_no_harm(place, whole):
    shutil.copytree(place / "stores" / STORE, place / "stores/gone")
    run = place / "runs/gone/proposed/seed0"
    with held_in_training(place, run, "data.store=stores/gone", "study=gone") as process:
        shutil.rmtree(place / "stores/gone")
    assert process.returncode == 0, process.output
    assert_same_training(final(run), whole)


@pytest.mark.integration
@pytest.mark.slow
def test_wandbs_process_may_die(place, whole):
    run = place / "runs/wandb/proposed/seed0"
    options = ("logger=wandb", "logger.mode=offline", "study=wandb")
    with held_in_training(place, run, *options) as process:
        helpers = children(process.pid)
        assert helpers
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
    assert process.returncode == 0, process.output
    assert process.output.count("wandb failed (") == 1
    assert "Traceback" not in process.output
    assert (run / "DONE").exists()
    assert_same_training(final(run), whole)
    assert rows_logged(run) == rows_logged(place / "runs/whole/proposed/seed0")


def test_a_clock_jump_changes_nothing(monkeypatch):
    jumps = iter([0.0, 9e5, -9e5, 3e7] * 1000)
    logger, plain, jumped = Rows(), tiny.task(), tiny.task()
    batches = [tiny.batch(seed=s) for s in range(3)]
    fit(plain, batches, epochs=2)
    real = time.time

    class Jump(L.Callback):
        def on_train_batch_start(self, *_):
            shift = next(jumps)
            monkeypatch.setattr(time, "time", lambda: real() + shift)

    fit(jumped, batches, epochs=2, callbacks=[Jump(), ThroughputMonitor()], logger=logger)
    for one, other in zip(plain.parameters(), jumped.parameters(), strict=True):
        assert one.equal(other)
    seconds = [
        row["speed/seconds_per_epoch"]
        for _, row in logger.rows
        if len(row) > 4 and "speed/seconds_per_epoch" in row
    ]
    assert len(seconds) == 2
    assert all(0 < value < 1000 for value in seconds)


@pytest.mark.parametrize("error", [ValueError("x"), OSError("no number"), KeyError("k")])
def test_other_errors_keep_their_traceback(error):
    assert from_os_error(error) is None
    wrapped = ValueError("Unable to configure handler")
    wrapped.__cause__ = PermissionError(13, "Permission denied", "train.log")
    told = from_os_error(wrapped)
    assert isinstance(told, Hep2ganError)
    assert str(told) == (
        "train.log: Permission denied. Fix: set its permissions, or choose another place."
    )
