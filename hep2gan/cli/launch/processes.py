"""Jobs in processes of their own on this machine: started, awaited, stopped together."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hep2gan.cli.launch.jobs import Job, Outcome, unfinished_jobs
from hep2gan.cli.launch.outcomes import describe_failure, told_when_stopped
from hep2gan.cli.launch.slots import DeviceSlots
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
    # Its output, and what its command needs while it runs.
    files: ExitStack


def run_jobs(jobs: Sequence[Job], slots: DeviceSlots, again: str = "") -> list[Outcome]:
    """Run each job that is not done in its own process; a failure stops no other job.

    What a job prints goes to output.log in its folder; of one that only looks nothing is kept. When
    this process is stopped, so are the jobs, which save and can be resumed.

    Args:
        jobs: The jobs of one launch.
        slots: How many run at once, and on which GPUs.
        again: The command that launched them, told after a stop; '' where there is none.

    Returns:
        The outcomes, in the order of `jobs`.
    """
    outcomes: dict[int, Outcome] = {}
    notes: dict[str, list[Job]] = {}
    waiting = list(unfinished_jobs(jobs, outcomes))
    running: dict[int, _Process] = {}
    with _stop_signals(), told_when_stopped(jobs, again), _stop_together(running):
        while waiting or running:
            while waiting and slots.free:
                job = waiting.pop(0)
                running[job.number] = _start(job, slots.take(job.number))
                log.info("%s  started", job.title)
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


def _start(job: Job, environment: Mapping[str, str]) -> _Process:
    with ExitStack() as files:
        command = files.enter_context(job.command())
        output = job.folder / "output.log"
        if job.checks_only:
            output = Path(files.enter_context(TemporaryDirectory())) / output.name
        output.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context(output.open("ab")),
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment),
            # Ctrl-C on the terminal is for the launcher, which stops its jobs.
            start_new_session=True,
        )
        return _Process(job, process, time.monotonic(), output, files.pop_all())


def _outcome(process: _Process, notes: dict[str, list[Job]]) -> Outcome:
    """Tell how a job ended; where it only looked, add what was noted of it to `notes`."""
    job, status = process.job, process.process.returncode
    if job.checks_only:
        problem = _check_problem(job, status, process.output, notes)
    else:
        problem = None if job.done else describe_failure(status, process.output)
    process.files.close()
    minutes = (time.monotonic() - process.started) / 60
    words = ("checked", "not ready") if job.checks_only else ("finished", "FAILED")
    log.info("%s  %s after %.1f min", job.title, words[problem is not None], minutes)
    return Outcome(job, problem)


def _check_problem(job: Job, status: int, output: Path, notes: dict[str, list[Job]]) -> str | None:
    """Return what prevents the start of a job; add what else was noted of it to `notes`."""
    noted, problem = job.findings(output.read_text(errors="replace"))
    for line in noted:
        notes.setdefault(line, []).append(job)
    if status == 0:
        return None
    return problem or describe_failure(status, output).partition(" (log: ")[0]


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, too, stop the jobs and not this process alone, unless handled."""
    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP.
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    unhandled = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in unhandled:
        signal.signal(number, lambda signum, _: sys.exit(128 + signum))
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)


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
