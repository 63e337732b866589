"""The jobs of a sweep: their names, their processes side by side, their outcomes."""

import hashlib
import logging
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hep2gan.cli.command_line import this_command
from hep2gan.cli.launch.idle import idle_in_sweep
from hep2gan.cli.launch.local import config_file, run_settings
from hep2gan.errors import Hep2ganError, bullet_list, pluralize, raise_all
from hep2gan.io import available_cores
from hep2gan.runs.folder import RUNTIME_KEYS, RunFolder, flatten
from hep2gan.settings import PositiveInt, Settings, parse

log = logging.getLogger(__name__)

# Keys that are no part of a job's name: they are in the run folder's path, or nowhere.
_UNNAMED = frozenset({"method", "seed", "study", "name", "run_dir"}) | RUNTIME_KEYS
_MAX_LENGTH = 150

STOP_LIMIT = 120.0
"""Seconds that jobs may take to finish their batch and save before they are killed."""


def job_name(name: str, swept: Mapping[str, str]) -> str:
    """Name a job: the method's name and the keys that a sweep changes, so that folders differ.

    Args:
        name: The method's name.
        swept: Values of the swept keys, as text.

    Returns:
        A name of at most 159 characters that a folder can have.

    >>> job_name("proposed", {"loss.beta": "5", "seed": "1", "generator": "xception41"})
    'proposed,loss.beta=5,generator=xception41'
    """
    parts = [f"{key}={value}" for key, value in swept.items() if key not in _UNNAMED]
    whole = ",".join([name, *(re.sub(r"[^\w.,=+\-\[\]]+", "_", part) for part in parts)])
    if len(whole) <= _MAX_LENGTH:
        return whole
    # Folder names have at most 255 bytes; the digest distinguishes names with the same beginning.
    return f"{whole[:_MAX_LENGTH]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


class Job(NamedTuple):
    """One run of a sweep.

    Attributes:
        number: Its number in the sweep, from 0.
        overrides: Its command line.
        config: Its resolved configuration, with `trusted` and `doctor`.
    """

    number: int
    overrides: tuple[str, ...]
    config: dict[str, Any]

    @property
    def run(self) -> RunFolder:
        """Its run folder."""
        return RunFolder(Path(self.config["run_dir"]))

    @property
    def done(self) -> bool:
        """Whether its run is finished, with as many epochs as the job has."""
        # A folder that cannot be read is not done: its job tells why.
        with suppress(Hep2ganError):
            return self.run.done_with(self.config)
        return False


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        job: The job.
        problem: Why it is not finished; None when it is.
    """

    job: Job
    problem: str | None


def check_apart(jobs: Sequence[Job]) -> None:
    """Check that no two jobs write into the same run folder.

    Args:
        jobs: The jobs of a sweep.

    Raises:
        Hep2ganError: Two jobs share a folder.
    """
    counts = Counter(job.config["run_dir"] for job in jobs)
    if twice := [folder for folder, count in counts.items() if count > 1]:
        raise Hep2ganError(
            f"several jobs of the sweep would write into the same folder\n{bullet_list(twice)}\n",
            "a run folder is one configuration",
            "give each value once",
        )


def tell_idle(jobs: Sequence[Job]) -> None:
    """Warn of keys that change nothing in some jobs: jobs that differ only in them are the same.

    Args:
        jobs: The jobs of a sweep.
    """
    for sentence in idle_in_sweep(jobs):
        log.warning("note     %s", sentence)


def check_splits(jobs: Sequence[Job]) -> None:
    """Check, before any job starts, that the stores have what the jobs split by.

    A store that does not exist yet or cannot be opened is left to the jobs, as are preflight
    checks; finished jobs need none.

    Args:
        jobs: The jobs of a sweep.

    Raises:
        Hep2ganError: A store lacks the specimens or the given parts that a job splits by.
    """
    waiting = [job for job in jobs if not job.done and not job.config.get("doctor")]
    settings = [dict(flatten(job.config)) for job in waiting]
    splits = Counter((str(s.get("split.kind")), str(s.get("data.store"))) for s in settings)
    problems = []
    for (kind, store), count in splits.items():
        if (error := _missing_for(kind, store)) is not None:
            problems.append(
                Hep2ganError(
                    f"{error.fact}, and {count} of {pluralize(len(jobs), 'job')} set split={kind}",
                    error.rule,
                    f"{error.fix}, or leave {kind} out of the sweep",
                )
            )
    raise_all(problems)


def _missing_for(kind: str, path: str) -> Hep2ganError | None:
    """What the store at `path` lacks for splits of this kind."""
    if kind not in ("specimen", "given") or not Path(path).exists():
        return None
    from hep2gan.data.splits import check_split_possible
    from hep2gan.data.store.store import Store

    try:
        store = Store.open(Path(path))
    except Hep2ganError:
        return None
    try:
        check_split_possible(store, kind)
    except Hep2ganError as error:
        return error
    return None


def unfinished_jobs(jobs: Sequence[Job], outcomes: dict[int, Outcome]) -> Iterator[Job]:
    """Yield the jobs to start; add the outcomes of the others to `outcomes`.

    Args:
        jobs: The jobs of a sweep.
        outcomes: Outcomes by job number; gets those of jobs that are done or whose folder holds
            another run.

    Yields:
        Each job that is not finished.
    """
    for job in jobs:
        doctor = job.config.get("doctor")
        try:
            if not doctor and job.run.config_file.exists():
                # Here, since it imports torch, which only a second launch needs.
                from hep2gan.config import parse_config

                config = parse_config(run_settings(job.config), job.config.get("trusted", ()))
                job.run.check_config(config.to_plain())
        except Hep2ganError as error:
            outcomes[job.number] = Outcome(job, str(error))
            continue
        if doctor or not job.done:
            yield job
        else:
            outcomes[job.number] = Outcome(job, None)
            log.info("%s  done before", job_title(job))


@dataclass
class DeviceSlots:
    """Slots for jobs side by side: GPUs by number, or a count on the CPU.

    Attributes:
        gpus: What CUDA_VISIBLE_DEVICES may name; empty on the CPU.
        each: Devices of a job.
        count: Jobs at once.
        taken: GPUs in use, by job number.
    """

    gpus: list[str]
    each: int
    count: int
    taken: dict[int, list[str]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether another job may start."""
        return len(self.taken) < self.count

    def take(self, number: int) -> dict[str, str]:
        """Take a slot.

        Args:
            number: Number of the job.

        Returns:
            The environment variables of the job.
        """
        used = {gpu for gpus in self.taken.values() for gpu in gpus}
        gpus = [gpu for gpu in self.gpus if gpu not in used][: self.each]
        self.taken[number] = gpus
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        processes = self.count * self.each
        if "OMP_NUM_THREADS" not in os.environ and processes > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // processes))
        return environment

    def release(self, number: int) -> None:
        """Free the slot of a job.

        Args:
            number: Number of the job.
        """
        del self.taken[number]


class ProcessSettings(Settings):
    """hydra.launcher of hydra/launcher=processes."""

    slots: PositiveInt | None
    """Jobs at once; null: as many as the GPUs hold, one on the CPU."""


def device_slots(settings: Mapping[str, Any], count: int | None) -> DeviceSlots:
    """Make slots for as many jobs at once as the GPUs hold, or one on the CPU; or for `count`.

    Args:
        settings: The group `trainer` of the jobs' configuration.
        count: Jobs at once, at most what the GPUs hold; None for the default.

    Returns:
        The free slots.

    Raises:
        Hep2ganError: A job needs more GPUs than there are, or more machines than this one, or
            `count` is no count.
    """
    parse(ProcessSettings, {"slots": count}, "hydra.launcher")
    if settings["num_nodes"] != 1:
        raise Hep2ganError(
            f"trainer.num_nodes is {settings['num_nodes']}",
            "hydra/launcher=processes starts jobs on this machine",
            "use hydra/launcher=slurm",
        )
    each = settings["devices"]
    if not isinstance(each, int) or isinstance(each, bool) or each < 1:
        raise Hep2ganError(
            f"trainer.devices is {each!r}",
            "it must be a positive whole number",
            "set trainer.devices=1",
        )
    gpus = [] if settings["accelerator"] == "cpu" else _visible_gpus()
    if settings["accelerator"] == "gpu" and len(gpus) < each:
        raise Hep2ganError(
            f"a job needs {each} GPUs, this machine has {len(gpus)}",
            "",
            "set trainer.devices lower or trainer.accelerator=cpu",
        )
    fitting = len(gpus) // each
    return DeviceSlots(gpus if fitting else [], each, min(count or fitting, fitting) or count or 1)


def _visible_gpus() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


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
                    outcomes[number] = _outcome(process)
            time.sleep(0.1)
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
        output = output_file(job)
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


def _outcome(process: _Process) -> Outcome:
    job, status = process.job, process.process.returncode
    if job.config.get("doctor"):
        problem = _doctor_problem(job, status, process.output)
    else:
        problem = None if job.done else describe_failure(status, process.output)
    process.files.close()
    minutes = (time.monotonic() - process.started) / 60
    log.info("%s  %s after %.1f min", job_title(job), "FAILED" if problem else "finished", minutes)
    return Outcome(job, problem)


def _doctor_problem(job: Job, status: int, output: Path) -> str | None:
    """Return what prevents the start of a job; log what else was noted of it."""
    text = output.read_text(errors="replace")
    notes, found, problems = text.partition("\nproblem ")
    for line in notes.splitlines():
        if line.startswith(("note ", "skipped ")):
            log.info("%s  %s", job_title(job), line)
    if status == 0:
        return None
    return problems.strip() if found else describe_failure(status, output).partition(" (log: ")[0]


def output_file(job: Job) -> Path:
    """Return the file that a job on this machine prints to.

    Args:
        job: A job of a sweep.

    Returns:
        output.log in the job's run folder.
    """
    return job.run.path / "output.log"


def describe_failure(status: int | None, output: Path) -> str:
    """Describe in one sentence a run that did not finish: its status, its last words, its log.

    Args:
        status: Exit status, negative for a signal; None if it is unknown.
        output: The file with what the run printed.

    Returns:
        The sentence, shortened if the output is long.
    """
    text = output.read_text(errors="replace") if output.is_file() else ""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    # An error may have several lines; of other output the last one counts.
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    words = " ".join(lines[errors[-1] if errors else -1 :]) or "it printed nothing"
    how = "no exit status" if status is None else f"exit status {status}"
    if status is not None and status < 0:
        how = f"ended by {signal.Signals(-status).name}"
    return f"{how}; {words[:600]} (log: {output})"


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


@contextmanager
def told_when_stopped(jobs: Sequence[Job]) -> Iterator[None]:
    """Log after a stop what is finished, what is saved, and what goes on.

    Args:
        jobs: The jobs of a sweep.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        left = [job.run for job in jobs if not job.done]
        if left and not jobs[0].config.get("doctor"):
            log.info("%d of %s finished, left:", len(jobs) - len(left), pluralize(len(jobs), "job"))
            log.info(bullet_list([f"{run.path}: {_what_is_saved(run)}" for run in left]))
            log.info("The same command goes on: %s", this_command())
        raise


def _what_is_saved(run: RunFolder) -> str:
    saved = [path.name for path in run.checkpoints.glob("epoch*.ckpt")]
    return f"{max(saved)} is saved" if saved else "nothing is saved yet"


def job_title(job: Job) -> str:
    """Name a job as the sweep's own output does.

    Args:
        job: A job of a sweep.

    Returns:
        Its number, method and seed.
    """
    return f"[{job.number}] {job.config['name']} seed {job.config['seed']}"


_MEASURES = ("test/accuracy", "test/f1", "test/dice")


def results_table(jobs: Sequence[Job]) -> list[str]:
    """List the main results of finished jobs.

    Args:
        jobs: Finished jobs.

    Returns:
        A heading and a line for each job; empty if no job has results.
    """
    results = {job.run.path: _metrics(job.run) for job in jobs}
    names = [name for name in _MEASURES if any(name in found for found in results.values())]
    rows = [
        "  ".join([*(f"{found.get(name, math.nan):<13.4f}" for name in names), str(path)])
        for path, found in results.items()
    ]
    return ["  ".join(f"{name:<13}" for name in names), *rows] if names else []


def _metrics(run: RunFolder) -> dict[str, float]:
    """Return the metrics of a run; none where they are damaged, which its report tells."""
    with suppress(Hep2ganError):
        return run.metrics()
    return {}


def report_command(studies: Iterable[Path]) -> str:
    """Write the command that makes a report of study folders.

    Args:
        studies: Folders of studies, some perhaps several times.

    Returns:
        A command line for a shell.
    """
    return shlex.join(["hep2gan-report", *map(str, dict.fromkeys(studies))])


def summarize(outcomes: Sequence[Outcome]) -> Hep2ganError | None:
    """Log how many jobs are done and their results, and make the error that names the others.

    Args:
        outcomes: How each job ended.

    Returns:
        The error; None if all jobs are finished.
    """
    failed = [outcome for outcome in outcomes if outcome.problem]
    done = [outcome.job for outcome in outcomes if not outcome.problem]
    log.info("%s: %d done, %d failed", pluralize(len(outcomes), "job"), len(done), len(failed))
    if done and not done[0].config.get("doctor"):
        for line in results_table(done):
            log.info(line)
        log.info(report_command(job.run.path.parent.parent for job in done))
    if not failed:
        return None
    lines = [f"{outcome.job.run.path}: {outcome.problem}" for outcome in failed]
    return Hep2ganError(
        f"{len(failed)} of {len(outcomes)} jobs failed\n{bullet_list(lines, limit=len(lines))}\n",
        "the others are finished",
        "correct the cause and give the same command again: it resumes all that is not done",
    )
