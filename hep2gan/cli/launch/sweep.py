"""The jobs of a sweep: their names, their processes side by side, their outcomes."""

import hashlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hep2gan.cli.launch.local import config_file, run_settings
from hep2gan.errors import Hep2ganError, bullet_list, pluralize, raise_all
from hep2gan.io import available_cores
from hep2gan.runs.folder import RUNTIME_KEYS, RunFolder, flatten

log = logging.getLogger(__name__)

# Keys that are no part of a job's name: they stand in the run folder's path, or nowhere.
_UNNAMED = frozenset({"method", "seed", "study", "name", "run_dir"}) | RUNTIME_KEYS
_MAX_LENGTH = 150

STOP_LIMIT = 120.0
"""Seconds that jobs may take to finish their batch and save before they are killed."""


def job_name(name: str, swept: Mapping[str, str]) -> str:
    """A method's name with the keys that a sweep changes, so that each job has its own folder.

    >>> job_name("proposed", {"loss.beta": "5", "seed": "1", "generator": "xception41"})
    'proposed,loss.beta=5,generator=xception41'
    """
    parts = [f"{key}={value}" for key, value in swept.items() if key not in _UNNAMED]
    whole = ",".join([name, *(re.sub(r"[^\w.,=+\-\[\]]+", "_", part) for part in parts)])
    if len(whole) <= _MAX_LENGTH:
        return whole
    # Folder names have at most 255 bytes; the digest tells apart names that are cut to the same.
    return f"{whole[:_MAX_LENGTH]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


class Job(NamedTuple):
    """One run of a sweep. overrides: its command line. config: resolved, with `trusted`."""

    number: int
    overrides: tuple[str, ...]
    config: dict[str, Any]

    @property
    def run(self) -> RunFolder:
        """Its run folder."""
        return RunFolder(Path(self.config["run_dir"]))


class Outcome(NamedTuple):
    """How a job ended. problem: None when the run is finished."""

    job: Job
    problem: str | None


def check_apart(jobs: Sequence[Job]) -> None:
    """Raise Hep2ganError when two jobs would write into the same run folder."""
    counts = Counter(job.config["run_dir"] for job in jobs)
    if twice := [folder for folder, count in counts.items() if count > 1]:
        raise Hep2ganError(
            f"several jobs of the sweep would write into the same folder\n{bullet_list(twice)}\n",
            "a run folder is one configuration",
            "give each value once",
        )


def check_splits(jobs: Sequence[Job]) -> None:
    """Raise Hep2ganError, before any job starts, when stores lack what jobs split by.

    A store that does not exist yet or cannot be opened is left to the jobs, as are preflight
    checks; finished jobs need none.
    """
    waiting = [job for job in jobs if not job.run.done and not job.config.get("doctor")]
    settings = [dict(flatten(job.config)) for job in waiting]
    splits = Counter((str(s.get("split.kind")), str(s.get("data.store"))) for s in settings)
    problems = []
    for (kind, store), count in splits.items():
        if (error := _missing_for(kind, store)) is not None:
            problem = Hep2ganError(
                f"{error.fact}, and {count} of {pluralize(len(jobs), 'job')} set split={kind}",
                error.rule,
                f"{error.fix}, or leave {kind} out of the sweep",
            )
            problems.append(problem)
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
    """Yield the jobs to start; add the outcomes of the others, whose folder is done or taken."""
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
        if doctor or not job.run.done:
            yield job
        else:
            outcomes[job.number] = Outcome(job, None)
            log.info("%s  done before", job_title(job))


@dataclass
class DeviceSlots:
    """Slots for jobs side by side: GPUs by number, or a count on the CPU.

    gpus: what CUDA_VISIBLE_DEVICES may name; empty on the CPU. each: devices of a job. count: jobs
    at once.
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
        """Take a slot for job `number`; return its environment."""
        used = {gpu for gpus in self.taken.values() for gpu in gpus}
        gpus = [gpu for gpu in self.gpus if gpu not in used][: self.each]
        self.taken[number] = gpus
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        processes = self.count * self.each
        if "OMP_NUM_THREADS" not in os.environ and processes > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // processes))
        return environment

    def release(self, number: int) -> None:
        """Free the slot of job `number`."""
        del self.taken[number]


def device_slots(settings: Mapping[str, Any], count: int | None) -> DeviceSlots:
    """Slots for as many jobs at once as the GPUs hold, or one on the CPU; or for `count`.

    settings: the jobs' `trainer`. Raises Hep2ganError when a job needs more GPUs than there are,
    or more machines than this one.
    """
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
    # Its output and its configuration's file, while it runs.
    files: ExitStack


def run_jobs(jobs: Sequence[Job], slots: DeviceSlots) -> list[Outcome]:
    """Run each job that is not done in a process (group) of its own; a failure stops no other.

    What a job prints goes to output.log in its run folder. When this process is stopped, so are the
    jobs, which save and can be resumed. Returns the outcomes in the order of `jobs`.
    """
    outcomes: dict[int, Outcome] = {}
    waiting = list(unfinished_jobs(jobs, outcomes))
    running: dict[int, _Process] = {}
    with _stop_together(running):
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
    """Run the preflight checks of jobs for other machines here, apart from those of GPUs."""
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
    job.run.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        file = files.enter_context(config_file(job.config))
        process = subprocess.Popen(
            [sys.executable, "-m", "hep2gan.cli.worker", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context(output_file(job).open("ab")),
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment),
            # Ctrl-C on the terminal is for the sweep, which stops its jobs.
            start_new_session=True,
        )
        return _Process(job, process, time.monotonic(), files.pop_all())


def _outcome(process: _Process) -> Outcome:
    process.files.close()
    job, status = process.job, process.process.returncode
    succeeded = status == 0 if job.config.get("doctor") else job.run.done
    problem = None if succeeded else describe_failure(status, output_file(job))
    minutes = (time.monotonic() - process.started) / 60
    log.info("%s  %s after %.1f min", job_title(job), "FAILED" if problem else "finished", minutes)
    return Outcome(job, problem)


def output_file(job: Job) -> Path:
    """Where a job on this machine prints to."""
    return job.run.path / "output.log"


def describe_failure(status: int | None, output: Path) -> str:
    """One sentence about a run that did not finish: its status, its last words, its log."""
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


def job_title(job: Job) -> str:
    """How the sweep's own output names a job."""
    return f"[{job.number}] {job.config['name']} seed {job.config['seed']}"


def summarize(outcomes: Sequence[Outcome]) -> Hep2ganError | None:
    """Log how many jobs are done; return the error that names the others, if any."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    done = len(outcomes) - len(failed)
    log.info("%s: %d done, %d failed", pluralize(len(outcomes), "job"), done, len(failed))
    if not failed:
        return None
    lines = [f"{outcome.job.run.path}: {outcome.problem}" for outcome in failed]
    return Hep2ganError(
        f"{len(failed)} of {len(outcomes)} jobs failed\n{bullet_list(lines, limit=len(lines))}\n",
        "the others are finished",
        "correct the cause and give the same command again: it resumes all that is not done",
    )
