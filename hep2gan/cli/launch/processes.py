"""Jobs of a sweep in processes of their own on this machine: started, awaited, stopped together."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hep2gan.cli.launch.jobs import Job, Outcome, job_title, unfinished_jobs
from hep2gan.cli.launch.outcomes import describe_failure, told_when_stopped
from hep2gan.cli.launch.slots import DeviceSlots
from hep2gan.cli.worker import config_file
from hep2gan.errors import pluralize

log = logging.getLogger(__name__)

STOP_LIMIT = 120.0
"""Seconds that jobs may take to finish their batch and save before they are killed."""


@dataclass
class _Process:
    job: Job
    process: subprocess.Popen[bytes]
    started: float
    output: Path
    # Its output and its configuration's file, while it runs.
    files: ExitStack


def run_jobs(jobs: Sequence[Job], slots: DeviceSlots) -> list[Outcome]:
    """Run each job that is not done in its own processes; a failure stops no other job.

    What a job prints goes to output.log in its run folder; with doctor=true nothing is kept. When
    this process is stopped, so are the jobs, which save and can be resumed.

    Args:
        jobs: The jobs of a sweep.
        slots: How many run at once, and on which GPUs.

    Returns:
        The outcomes, in the order of `jobs`.
    """
    outcomes: dict[int, Outcome] = {}
    notes: dict[str, list[Job]] = {}
    waiting = list(unfinished_jobs(jobs, outcomes))
    running: dict[int, _Process] = {}
    with told_when_stopped(jobs), _stop_together(running):
        while waiting or running:
            while waiting and slots.free:
                job = waiting.pop(0)
                running[job.number] = _start(job, slots.take(job.number))
                log.info("%s  started", job_title(job))
            for number, process in list(running.items()):
                if process.process.poll() is not None:
                    del running[number]
                    slots.release(number)
                    outcomes[number] = _outcome(process, notes)
            time.sleep(0.1)
    for line, noted in notes.items():
        numbers = "".join(f"[{job.number}]" for job in noted)
        log.info("%s%s", line, f" (jobs {numbers})" if len(noted) < len(jobs) else "")
    return [outcomes[job.number] for job in jobs]


def check_jobs_locally(jobs: Sequence[Job]) -> list[Outcome]:
    """Run the preflight checks of jobs for other machines here, without those of GPUs.

    Args:
        jobs: The jobs of a sweep.

    Returns:
        The outcomes, in the order of `jobs`.
    """
    log.warning(
        "The checks run on this machine and leave out the GPUs of the nodes. On a node:"
        " srun hep2gan-train doctor=true"
    )
    local_jobs = []
    for job in jobs:
        trainer = job.config["trainer"]
        if trainer["accelerator"] == "gpu":
            trainer = trainer | {"accelerator": "auto"}
        local_jobs.append(job._replace(config=job.config | {"trainer": trainer}))
    return run_jobs(local_jobs, DeviceSlots([], each=1, count=1))


def _start(job: Job, environment: Mapping[str, str]) -> _Process:
    with ExitStack() as files:
        file = files.enter_context(config_file(job.config))
        output = job.run.path / "output.log"
        if job.config.get("doctor"):
            output = Path(files.enter_context(TemporaryDirectory())) / output.name
        output.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "hep2gan.cli.worker", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context(output.open("ab")),
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment),
            # Ctrl-C on the terminal is for the sweep, which stops its jobs.
            start_new_session=True,
        )
        return _Process(job, process, time.monotonic(), output, files.pop_all())


def _outcome(process: _Process, notes: dict[str, list[Job]]) -> Outcome:
    """Tell how a job ended; with doctor=true, add what was noted of it to `notes`."""
    job, status = process.job, process.process.returncode
    if job.config.get("doctor"):
        problem = _doctor_problem(job, status, process.output, notes)
    else:
        problem = None if job.done else describe_failure(status, process.output)
    process.files.close()
    minutes = (time.monotonic() - process.started) / 60
    ended = "checked" if job.config.get("doctor") else "finished"
    log.info("%s  %s after %.1f min", job_title(job), "FAILED" if problem else ended, minutes)
    return Outcome(job, problem)


def _doctor_problem(job: Job, status: int, output: Path, notes: dict[str, list[Job]]) -> str | None:
    """Return what prevents the start of a job; add what else was noted of it to `notes`."""
    text = output.read_text(errors="replace")
    noted, found, problems = text.partition("\nproblem ")
    for line in noted.splitlines():
        if line.startswith(("note ", "skipped ")):
            notes.setdefault(line, []).append(job)
    if status == 0:
        return None
    return problems.strip() if found else describe_failure(status, output).partition(" (log: ")[0]


@contextmanager
def _stop_together(running: dict[int, _Process]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in running.values():
            process.process.terminate()
        if running:
            log.info("Stopping %s, saving first", pluralize(len(running), "job"))
        end = time.monotonic() + STOP_LIMIT
        for process in running.values():
            try:
                process.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.process.kill()
            process.files.close()
