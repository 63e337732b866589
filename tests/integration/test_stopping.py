"""Stopped by signals and gone on with: bit for bit what an undisturbed training gives."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hep2gan.runs.checkpoints import list_checkpoints
from tests.helpers.started import (
    NETS,
    RESTLESS,
    SMALL,
    TWO,
    assert_same_training,
    final,
    rows_logged,
    train,
    until,
)

LONG = (*SMALL, *NETS, *RESTLESS, "trainer.max_epochs=12", "method=proposed")


# The average goes through the same stops as the weights: once more, and long.
AVERAGED = pytest.param((*TWO, "training.ema=0.9"), id="averaged", marks=pytest.mark.slow)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="one rank"),
        pytest.param(TWO, id="two ranks", marks=pytest.mark.integration),
        AVERAGED,
    ],
)
def undisturbed(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("stopping")
    train(place, *LONG, *request.param, "study=whole")
    return place, request.param, final(place / "runs/whole/proposed/seed0")


def test_sigterm_saves_within_the_epoch_and_exits_143(undisturbed):
    place, devices, whole = undisturbed
    run = place / "runs/stopped/proposed/seed0"
    process = train(place, *LONG, *devices, "study=stopped", wait=False)
    # In the second or a later epoch of three batches, after its first batch or so.
    until(lambda: rows_logged(run) >= 11, process)
    process.send_signal(signal.SIGTERM)
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 143, shown
    assert "Traceback" not in shown
    assert not (run / "DONE").exists()
    newest = list_checkpoints(run / "checkpoints")[0]
    where = "runs/stopped/proposed/seed0/checkpoints"
    said = f"Stopped by SIGTERM: {newest.name} is saved in {where}. The same command resumes"
    assert shown.count(said) == 1
    lines = [line for line in shown.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == [f"{n + 1}/12" for n in range(len(lines))]
    assert lines[0].split()[2:8:2] == ["discriminator", "generator", "classifier"]
    again = train(place, *LONG, *devices, "study=stopped")
    assert f"from {newest.name}" in again.output
    assert (run / "DONE").exists()
    assert_same_training(final(run), whole)
    columns = (
        (run / "metrics.csv").read_text(),
        (place / "runs/whole/proposed/seed0/metrics.csv").read_text(),
    )
    rows = [sorted(line.split(",")[:2] for line in text.splitlines()[1:]) for text in columns]
    assert rows[0] == rows[1]


def test_a_kill_and_a_damaged_checkpoint_change_nothing(undisturbed):
    place, devices, whole = undisturbed
    run = place / "runs/killed/proposed/seed0"
    process = train(place, *LONG, *devices, "study=killed", wait=False)
    until(lambda: len(list_checkpoints(run / "checkpoints")) > 1, process)
    process.kill()
    process.communicate(timeout=60)
    newest, older = list_checkpoints(run / "checkpoints")[:2]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    again = train(place, *LONG, *devices, "study=killed")
    assert "Falling back to the one before." in again.output
    assert f"from {older.name}" in again.output
    assert_same_training(final(run), whole)


@pytest.mark.integration
def test_a_second_training_in_the_folder_is_refused_and_the_first_goes_on(undisturbed):
    place, devices, whole = undisturbed
    run = place / "runs/shared/proposed/seed0"
    first = train(place, *LONG, *devices, "study=shared", wait=False)
    until(lambda: rows_logged(run) >= 4, first)
    owner = json.loads((run / "run.lock").read_text())["pid"]
    # Held, since a start takes longer than this training.
    os.kill(owner, signal.SIGSTOP)
    second = train(place, *LONG, *devices, "study=shared", check=False)
    os.kill(owner, signal.SIGCONT)
    assert second.returncode == 2, second.output
    assert f"is in use by process {owner} on" in second.output
    assert "Traceback" not in second.output
    first.output = first.communicate(timeout=120)[0]
    assert first.returncode == 0, first.output
    assert not (run / "run.lock").exists()
    assert_same_training(final(run), whole)


@pytest.mark.integration
@pytest.mark.slow
def test_ctrl_c_saves_too_and_exits_130(undisturbed):
    place, devices, whole = undisturbed
    run = place / "runs/interrupted/proposed/seed0"
    process = train(place, *LONG, *devices, "study=interrupted", wait=False)
    until(lambda: rows_logged(run) >= 6, process)
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 130, shown
    train(place, *LONG, *devices, "study=interrupted")
    assert_same_training(final(run), whole)


def running(pid):
    """Not gone, and no zombie that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


@pytest.mark.integration
@pytest.mark.parametrize("victim", ["a rank", "the launcher"])
def test_a_killed_process_takes_the_others_along(undisturbed, victim):
    place, devices, whole = undisturbed
    if not devices:
        pytest.skip("one process has no others")
    study = victim.replace(" ", "_")
    run = place / f"runs/{study}/proposed/seed0"
    process = train(place, *LONG, *devices, f"study={study}", wait=False)
    until(lambda: rows_logged(run) >= 11, process)
    ranks = children(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[1] if victim == "a rank" else process.pid, signal.SIGKILL)
    shown = process.communicate(timeout=60)[0]
    if victim == "a rank":
        assert process.returncode == 2, shown
        assert "rank 1 ended with SIGKILL" in shown
    end = time.monotonic() + 30
    while alive := [rank for rank in ranks if running(rank)]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)
    train(place, *LONG, *devices, f"study={study}")
    assert_same_training(final(run), whole)
