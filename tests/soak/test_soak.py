"""Hundreds of short trainings in one sweep: nothing grows, nothing is left behind."""

import os
import statistics
import sys
import time

import pytest

from tests.helpers.started import NETS, SMALL, train
from tests.soak.watch import holdings, processes_with

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
JOBS = int(os.environ.get("SOAK_JOBS", "200"))
SLOTS = 2
# Jobs until what is made once is made, and how much the parent may grow after them, in MiB.
SETTLED, GROWTH = min(20, JOBS // 2), 4.0
SWEEP = (
    *SMALL, *NETS, "trainer.max_epochs=1", "trainer.limit_train_batches=1", "study=soak", "-m",
    f"seed=range({JOBS})", f"hydra.launcher.slots={SLOTS}",
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The place of a finished sweep, its process, and what it held after each job."""
    place = tmp_path_factory.mktemp("soak")
    for name in ("temporary", "home"):
        (place / name).mkdir()
    with (place / "output.txt").open("wb") as output:
        process = train(place, *SWEEP, wait=False, env=environment(place), output=output)
        held = watched(process, place)
    for row in held[:: max(1, len(held) // 20)]:
        print(row)
    return place, process, held


def environment(place):
    return {"TMPDIR": str(place / "temporary"), "HOME": str(place / "home")}


def watched(process, place):
    held = []
    while process.poll() is None:
        try:
            held.append(holdings(process.pid, len(finished(place)), place / "temporary"))
        except OSError:
            break
        time.sleep(0.5)
    process.wait()
    return held


def finished(place):
    return sorted(place.glob("runs/soak/proposed/seed*/DONE"))


def test_all_jobs_are_done(sweep):
    place, process, _ = sweep
    shown = (place / "output.txt").read_text()
    assert process.returncode == 0, shown[-3000:]
    assert len(finished(place)) == JOBS
    assert f"{JOBS} jobs: {JOBS} done, 0 failed" in shown


def test_the_parents_memory_is_flat(sweep):
    _, _, held = sweep
    early = [h.memory for h in held if SETTLED <= h.done < SETTLED + max(1, JOBS // 10)]
    late = [h.memory for h in held if h.done >= JOBS - max(1, JOBS // 10)]
    assert statistics.median(late) - statistics.median(early) < GROWTH
    # Not after the last job: an interpreter that ends touches pages of libraries once more.
    most = max(h.memory for h in held if SETTLED <= h.done < JOBS)
    assert most < statistics.median(early) + 4 * GROWTH


def test_its_files_and_children_are_those_of_its_slots(sweep):
    _, _, held = sweep
    assert max(h.children for h in held) == SLOTS
    assert max(h.configurations for h in held) == SLOTS
    early = max(h.files for h in held if h.done <= SETTLED)
    assert max(h.files for h in held if SETTLED < h.done < JOBS) <= early


def test_no_file_and_no_process_is_left_behind(sweep):
    place, _, _ = sweep
    assert [p for p in (place / "temporary").rglob("*") if not p.is_dir()] == []
    # Matplotlib keeps its list of fonts, once.
    assert len([p for p in (place / "home").rglob("*") if not p.is_dir()]) <= 1
    assert not list(place.rglob("*.partial"))
    assert processes_with(f"TMPDIR={place / 'temporary'}") == []


def test_a_second_launch_trains_nothing(sweep):
    place, _, _ = sweep
    before = {path: path.stat().st_mtime_ns for path in place.glob("runs/**/*.ckpt")}
    again = train(place, *SWEEP, env=environment(place))
    assert again.output.count("done before") == JOBS
    assert "started" not in again.output
    assert before == {path: path.stat().st_mtime_ns for path in place.glob("runs/**/*.ckpt")}
    assert len(before) >= JOBS
