"""Jobs through Slurm: submitted, requeued when they are preempted, awaited."""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hep2gan.cli.launch.jobs import Job, Outcome, unfinished_jobs
from hep2gan.cli.launch.outcomes import describe_failure, told_when_stopped
from hep2gan.cli.launch.slots import Needs
from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json, write_json

log = logging.getLogger(__name__)

_ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
    | {"PREEMPTED", "TIMEOUT"}
)

_COMMON = frozenset(
    {"name", "timeout_min", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "mem_gb"}
    | {"stderr_to_stdout"}
)
"""Parameters that submitit has for every cluster; those of Slurm alone begin with slurm_."""

ANSWER_LIMIT = 60
"""Seconds that a command of Slurm may take, which a busy controller delays."""

_SILENCE_LIMIT = 900.0
"""Seconds without an answer of squeue after which a sweep no longer waits: a controller restarts
in less."""


class SlurmJob:
    """What submitit runs on each node.

    Before its time is over Slurm sends a signal; the job saves and raises SystemExit, submitit
    requeues it, and it resumes from there.

    Args:
        function: Does the job in this process. Stopped by a signal it raises SystemExit with 128
            and the number of SIGTERM, SIGINT or SIGHUP, as shells do; it can be pickled.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def __call__(self) -> None:
        """Do the job; an exit status other than 0 marks it failed."""
        try:
            self.function()
        except SystemExit as stop:
            was_signal = isinstance(stop.code, int) and stop.code > 128
            if was_signal and os.environ.get("SLURM_PROCID") == "0":
                _requeue_if_preempted(os.environ["SLURM_JOB_ID"])
            raise

    def checkpoint(self) -> Any:
        """Called by submitit when the job is to run again: the same call, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _requeue_if_preempted(job: str) -> None:
    """Requeue a preempted job, which would count as failed if it merely ended.

    Not for a job that a person cancelled, which gets the same signal.
    """
    output = _run("scontrol", "show", "job", "--oneliner", job)
    facts = dict(word.split("=", 1) for word in output.split() if "=" in word)
    if facts.get("PreemptTime", "None") != "None" and facts.get("JobState") == "RUNNING":
        log.info("Preempted: back into the queue")
        _run("scontrol", "requeue", job)


def require_slurm() -> None:
    """Check that jobs can be submitted from here.

    Raises:
        Hep2ganError: Slurm's commands are missing, or do not answer.
    """
    _run("sbatch", "--version")


def run_in_slurm(
    jobs: Sequence[Job],
    function: Callable[[Job], Callable[[], object]],
    options: Mapping[str, Any],
    needs: Needs,
    again: str = "",
) -> list[Outcome]:
    """Submit the jobs that are not done as one array, and wait until Slurm has ended them.

    A job that an earlier launch submitted and that is still in the queue is awaited, not submitted
    twice.

    Args:
        jobs: The jobs of one launch.
        function: Makes what does a job on its node, see `SlurmJob`.
        options: Parameters of submitit's executor by their names without slurm_, with
            `submitit_folder` and `max_num_timeout`; `gpus_per_node` None follows `needs`.
        needs: What each job needs.
        again: The command that launched them, told after a stop; '' where there is none.

    Returns:
        The outcomes, in the order of `jobs`.

    Raises:
        Hep2ganError: A command of Slurm is missing or fails.
    """
    require_slurm()  # Before anything is written where there is no Slurm.
    outcomes: dict[int, Outcome] = {}
    waiting: list[Job] = []
    ids: dict[int, str] = {}
    for job in unfinished_jobs(jobs, outcomes):
        try:
            if (job_id := _earlier_id(job)) in _active([job_id]):
                ids[job.number] = job_id
                log.info("%s  in the queue as %s", job.title, job_id)
            else:
                waiting.append(job)
        except Hep2ganError as error:
            # Whether it still runs is unknown: it is not submitted twice.
            outcomes[job.number] = Outcome(job, str(error))
    submitted = _submit(waiting, function, options, needs)
    for job, (job_id, output) in zip(waiting, submitted, strict=True):
        ids[job.number] = job_id
        job.folder.mkdir(parents=True, exist_ok=True)
        write_json(_job_file(job), {"job": job_id, "output": str(output)}, indent=None)
        log.info("%s  submitted as %s", job.title, job_id)
    by_number = {job.number: job for job in jobs}
    with told_when_stopped(jobs, again), _told_what_slurm_keeps(ids, outcomes):
        for number in _wait_for_each(ids):
            job = by_number[number]
            problem = None if job.done else describe_failure(None, _output(job))
            outcomes[number] = Outcome(job, problem)
            log.info("%s  %s", job.title, "FAILED" if problem else "finished")
    return [outcomes[job.number] for job in jobs]


@contextmanager
def _told_what_slurm_keeps(ids: Mapping[int, str], ended: Mapping[int, Outcome]) -> Iterator[None]:
    """Log after a stop that the jobs go on without this process, and how to end them."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        left = " ".join(job for number, job in ids.items() if number not in ended)
        log.info("Slurm keeps the jobs that are in its queue: %s", left)
        log.info("They are ended by: scancel %s", left)
        raise


def _submit(
    jobs: Sequence[Job],
    function: Callable[[Job], Callable[[], object]],
    options: Mapping[str, Any],
    needs: Needs,
) -> list[tuple[str, Path]]:
    """Ids and output files of the jobs, submitted as one array."""
    if not jobs:
        return []
    import submitit

    parameters = dict(options)
    executor = submitit.AutoExecutor(
        parameters.pop("submitit_folder"),
        cluster="slurm",
        slurm_max_num_timeout=parameters.pop("max_num_timeout"),
    )
    parameters |= {"nodes": needs.nodes, "tasks_per_node": 1, "stderr_to_stdout": True}
    if parameters["gpus_per_node"] is None and needs.accelerator != "cpu":
        parameters["gpus_per_node"] = needs.devices
    executor.update_parameters(
        **{key if key in _COMMON else f"slurm_{key}": value for key, value in parameters.items()}
    )
    with executor.batch():
        submitted = [executor.submit(SlurmJob(function(job))) for job in jobs]
    return [(handle.job_id, handle.paths.stdout) for handle in submitted]


def _job_file(job: Job) -> Path:
    return job.folder / "slurm.json"


def _earlier_id(job: Job) -> str:
    """The id under which an earlier launch submitted the job, or ''."""
    try:
        return str(read_json(_job_file(job))["job"])
    except (ValueError, KeyError):
        return ""


def _output(job: Job) -> Path:
    return Path(read_json(_job_file(job))["output"])


def _wait_for_each(ids: Mapping[int, str]) -> Iterator[int]:
    """Yield the number of each job when Slurm has ended it."""
    left, heard = dict(ids), time.monotonic()
    while left:
        try:
            active, heard = _active(list(left.values())), time.monotonic()
        except Hep2ganError as error:
            if time.monotonic() - heard > _SILENCE_LIMIT:
                raise
            log.warning("%s Asking again.", error)
            time.sleep(10.0)
            continue
        for number, job in list(left.items()):
            if job not in active:
                del left[number]
                yield number
        if left:
            time.sleep(1.0)


def _active(jobs: Sequence[str]) -> set[str]:
    """The jobs that wait, run or are being requeued.

    By squeue, which works without an accounting database; jobs that it no longer lists have ended.
    """
    if not any(jobs):
        return set()
    arrays = ",".join(sorted({job.partition("_")[0] for job in jobs if job}))
    try:
        rows = _run("squeue", "-h", "-t", "all", "--array", "-o", "%i %T", "-j", arrays)
    except Hep2ganError as error:
        if "Invalid job id" in str(error):
            return set()
        raise
    states = dict(line.split() for line in rows.splitlines() if line.strip())
    return {job for job in jobs if states.get(job, "ENDED") not in _ENDED | {"ENDED"}}


def _run(*command: str) -> str:
    """What one of Slurm's commands prints."""
    text = " ".join(command)
    again = "check that Slurm answers (sinfo), and run the same command again: it goes on from here"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=ANSWER_LIMIT
        )
    except FileNotFoundError as error:
        raise Hep2ganError(
            f"{command[0]} is not on the path",
            "hydra/launcher=slurm needs Slurm's commands",
            "run on a login node of the cluster, or use hydra/launcher=processes",
        ) from error
    except subprocess.CalledProcessError as error:
        raise Hep2ganError(f"{text} failed ({error.stderr.strip()})", "", again) from error
    except subprocess.TimeoutExpired as error:
        raise Hep2ganError(f"{text} did not answer within {ANSWER_LIMIT} s", "", again) from error
    return done.stdout


def hostnames(nodes: str) -> list[str]:
    """The machines of a list in Slurm's own form, such as node[1-4]."""
    return _run("scontrol", "show", "hostnames", nodes).split()
