"""Jobs of a sweep through Slurm: submitted, requeued when they are preempted, awaited."""

import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hep2gan.cli.launch.sweep import (
    Job,
    Outcome,
    check_jobs_locally,
    describe_failure,
    job_title,
    told_when_stopped,
    unfinished_jobs,
)
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Name, NonNegative, PositiveInt, Settings, Text, Texts, parse

log = logging.getLogger(__name__)

_ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
    | {"PREEMPTED", "TIMEOUT"}
)


ANSWER_LIMIT = 60
"""Seconds that a command of Slurm may take, which a busy controller delays."""

_SILENCE_LIMIT = 900.0
"""Seconds without an answer of squeue after which a sweep no longer waits: a controller restarts
in less."""


class SlurmSettings(Settings):
    """hydra.launcher of hydra/launcher=slurm."""

    submitit_folder: Text
    """Folder of the jobs' scripts and outputs."""
    name: Name
    """Name of the jobs in the queue."""
    timeout_min: PositiveInt
    """Minutes of one start."""
    signal_delay_s: PositiveInt
    """Seconds before the end of its time at which a job is told to save."""
    max_num_timeout: PositiveInt
    """Starts of a job that may run out of time."""
    cpus_per_task: PositiveInt
    """Cores on each node."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None
    """GPUs on each node; null: trainer.devices, none with trainer.accelerator=cpu."""
    mem_gb: NonNegative | None
    """Memory on each node."""
    partition: Name | None
    """Slurm's partition."""
    qos: Name | None
    """Slurm's quality of service."""
    account: Name | None
    """Account that the time is charged to."""
    constraint: Name | None
    """Features that nodes must have."""
    exclude: Name | None
    """Nodes that are not used."""
    gres: Name | None
    """Generic resources, such as gpu:a100:1."""
    comment: Name | None
    """A comment for Slurm."""
    array_parallelism: PositiveInt
    """Jobs at once."""
    setup: Texts | None
    """Shell lines before the job."""
    additional_parameters: dict[str, Any]
    """Any other parameters of sbatch, by name."""


class SlurmJob:
    """What submitit runs on each node: one run from its composed configuration.

    Before its time is over Slurm sends a signal; the run saves within its epoch, submitit requeues
    the job, and it resumes from there.

    Args:
        config: The resolved configuration of the job.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)

    def __call__(self) -> None:
        """Train; an exit status other than 0 marks the job failed."""
        from hep2gan.cli.worker import run_config
        from hep2gan.training.signals import RunStopped

        try:
            run_config(self.config)
        except RunStopped:
            if os.environ.get("SLURM_PROCID") == "0":
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


def run_in_slurm(launcher: Any, jobs: Sequence[Job]) -> list[Outcome]:
    """Submit the jobs that are not done as one array, and wait until Slurm has ended them.

    A job that an earlier launch submitted and that is still in the queue is awaited, not submitted
    twice.

    Args:
        launcher: Hydra's submitit launcher, for its parameters.
        jobs: The jobs of one sweep.

    Returns:
        The outcomes, in the order of `jobs`.

    Raises:
        Hep2ganError: A setting of the launcher is nothing that it could be, or a command of Slurm
            is missing or fails.
    """
    is_doctor = any(job.config.get("doctor") for job in jobs)
    checked = check_jobs_locally(jobs) if is_doctor else []
    parse(SlurmSettings, launcher.params, "hydra.launcher")
    _run("sbatch", "--version")  # Before anything is written where there is no Slurm.
    if is_doctor:
        return checked
    outcomes: dict[int, Outcome] = {}
    waiting: list[Job] = []
    ids: dict[int, str] = {}
    for job in unfinished_jobs(jobs, outcomes):
        try:
            if (job_id := _earlier_id(job)) in _active([job_id]):
                ids[job.number] = job_id
                log.info("%s  in the queue as %s", job_title(job), job_id)
            else:
                waiting.append(job)
        except Hep2ganError as error:
            # Whether it still runs is unknown: it is not submitted twice.
            outcomes[job.number] = Outcome(job, str(error))
    submitted = _submit(launcher.params, waiting)
    for job, (job_id, output) in zip(waiting, submitted, strict=True):
        ids[job.number] = job_id
        job.run.path.mkdir(parents=True, exist_ok=True)
        _job_file(job).write_text(json.dumps({"job": job_id, "output": str(output)}) + "\n")
        log.info("%s  submitted as %s", job_title(job), job_id)
    by_number = {job.number: job for job in jobs}
    with told_when_stopped(jobs), _told_what_slurm_keeps(ids, outcomes):
        for number in _wait_for_each(ids):
            job = by_number[number]
            problem = None if job.done else describe_failure(None, _output(job))
            outcomes[number] = Outcome(job, problem)
            log.info("%s  %s", job_title(job), "FAILED" if problem else "finished")
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


def _submit(params: Mapping[str, Any], jobs: Sequence[Job]) -> list[tuple[str, Path]]:
    """Ids and output files of the jobs, submitted as one array."""
    if not jobs:
        return []
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    executor = submitit.AutoExecutor(
        params["submitit_folder"],
        cluster="slurm",
        slurm_max_num_timeout=params["max_num_timeout"],
    )
    common = BaseQueueConf.__dataclass_fields__.keys()
    options = {k: v for k, v in params.items() if k not in ("submitit_folder", "max_num_timeout")}
    trainer = jobs[0].config["trainer"]
    options |= {"nodes": trainer["num_nodes"], "tasks_per_node": 1, "stderr_to_stdout": True}
    if options["gpus_per_node"] is None and trainer["accelerator"] != "cpu":
        options["gpus_per_node"] = trainer["devices"]
    executor.update_parameters(
        **{k if k in common else f"slurm_{k}": v for k, v in options.items()}
    )
    with executor.batch():
        submitted = [executor.submit(SlurmJob(job.config)) for job in jobs]
    return [(handle.job_id, handle.paths.stdout) for handle in submitted]


def _job_file(job: Job) -> Path:
    return job.run.path / "slurm.json"


def _earlier_id(job: Job) -> str:
    """The id under which an earlier launch submitted the job, or ''."""
    try:
        return str(json.loads(_job_file(job).read_text())["job"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _output(job: Job) -> Path:
    return Path(json.loads(_job_file(job).read_text())["output"])


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
