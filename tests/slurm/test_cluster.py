import subprocess
from pathlib import Path

import pytest

from .cluster import Cluster, one_node

pytestmark = pytest.mark.slurm


def test_the_node_comes_up(cluster: Cluster):
    assert cluster.run("sinfo", "--noheader", "-p", "low", "-o", "%D %c %T").split() == [
        "1",
        "2",
        "idle",
    ]


def test_a_job_runs_and_its_output_is_read(cluster: Cluster, tmp_path: Path):
    script = "#!/bin/bash\nsrun --unbuffered bash -c 'echo rank $SLURM_PROCID of $SLURM_NTASKS'\n"
    job = cluster.submit(script, f"--output={tmp_path}/%j.txt", "--ntasks=2")

    assert cluster.wait_for(job) == "COMPLETED"
    assert sorted((tmp_path / f"{job}.txt").read_text().splitlines()) == [
        "rank 0 of 2",
        "rank 1 of 2",
    ]


def test_the_tasks_of_an_array_are_listed_by_their_ids(cluster: Cluster, tmp_path: Path):
    script = "#!/bin/bash\nexit $SLURM_ARRAY_TASK_ID\n"
    job = cluster.submit(script, f"--output={tmp_path}/%A_%a.txt", "--array=0-2%1")

    ends = {f"{job}_{task}": cluster.wait_for(f"{job}_{task}") for task in range(3)}
    assert ends == {f"{job}_0": "COMPLETED", f"{job}_1": "FAILED", f"{job}_2": "FAILED"}


# The first time, it ignores the warning, so that Slurm kills it: a job that ends by itself within
# the grace time has ended for Slurm, and is not requeued.
PATIENT = """\
#!/bin/bash
echo start ${SLURM_RESTART_COUNT:-0}
if [ -z "$SLURM_RESTART_COUNT" ]; then srun bash -c 'trap "" TERM; sleep 100'; fi
echo end
"""


def test_a_preempted_job_is_requeued_and_runs_to_its_end(cluster: Cluster, tmp_path: Path):
    out = f"--output={tmp_path}/%j.txt"
    low = cluster.submit(PATIENT, out, "--cpus-per-task=2", "--requeue", "--open-mode=append")
    cluster.wait_for(low, "RUNNING")
    high = cluster.submit("#!/bin/bash\necho first\n", out, "-p", "high", "--cpus-per-task=2")

    assert cluster.wait_for(high) == "COMPLETED"
    cluster.wait_for(low, "PENDING")
    cluster.release(low)
    assert cluster.wait_for(low) == "COMPLETED"

    printed = (tmp_path / f"{low}.txt").read_text()
    assert "DUE TO PREEMPTION" in printed
    assert [line for line in printed.splitlines() if line.startswith(("start", "end"))] == [
        "start 0",
        "start 1",
        "end",
    ]


def test_nodes_share_a_job(short_folder: Path, tmp_path: Path):
    with one_node(short_folder / "two", cpus=1, nodes=2) as two:
        script = "#!/bin/bash\nsrun bash -c 'echo $SLURM_NODEID $SLURM_LOCALID $SLURMD_NODENAME'\n"
        job = two.submit(script, f"--output={tmp_path}/%j.txt", "--nodes=2", "--ntasks-per-node=1")
        assert two.wait_for(job) == "COMPLETED", two.tail()

    assert sorted((tmp_path / f"{job}.txt").read_text().splitlines()) == ["0 0 node1", "1 0 node2"]


# With a process in its own session, whose parent has ended.
CLINGING = """\
#!/bin/bash
srun bash -c 'trap "" TERM; (setsid sleep 100 &); touch "$STARTED"; sleep 100'
"""


def test_nothing_is_left_after_an_exception(short_folder: Path, tmp_path: Path):
    started = tmp_path / "started"
    seen: dict[int, str] = {}

    def interrupted():
        with one_node(short_folder / "left", cpus=1) as short:
            short.submit(CLINGING, "--output=/dev/null", f"--export=ALL,STARTED={started}")
            short.run("timeout", "30", "bash", "-c", f"until [ -e {started} ]; do sleep 0.1; done")
            seen.update(_commands(short.processes()))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        interrupted()

    assert {"munged", "slurmctld", "slurmd", "slurmstepd:", "srun"} <= {
        command.split()[0] for command in seen.values()
    }
    assert list(seen.values()).count("sleep 100") == 2
    left = _commands(list(seen))
    assert [seen[process] for process in seen if left.get(process) == seen[process]] == []
    assert not [path for path in (short_folder / "left").rglob("*") if path.is_socket()]


def _commands(processes: list[int]) -> dict[int, str]:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "-p", ",".join(map(str, processes))],
        text=True,
        capture_output=True,
        check=False,  # it fails when none of them lives
    )
    rows = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return {int(process): command.strip() for process, command in rows}
