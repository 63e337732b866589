"""The jobs of a sweep: their names and folders, what they need, and which are still to be run."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hep2gan.cli.launch.idle import keys_without_effect
from hep2gan.cli.launch.local import run_settings
from hep2gan.errors import Hep2ganError, bullet_list, errors_from, pluralize, raise_all
from hep2gan.runs.folder import RUNTIME_KEYS, RunFolder
from hep2gan.settings import value_at

log = logging.getLogger(__name__)

# Keys that are no part of a job's name: they are in the run folder's path, or nowhere.
_UNNAMED = frozenset({"method", "seed", "study", "name", "run_dir"}) | RUNTIME_KEYS
_MAX_LENGTH = 150


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


def job_title(job: Job) -> str:
    """Name a job as the sweep's own output does.

    Args:
        job: A job of a sweep.

    Returns:
        Its number, method and seed.
    """
    return f"[{job.number}] {job.config['name']} seed {job.config['seed']}"


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
    counts = Counter(
        item for job in jobs for item in keys_without_effect(job.config, job.overrides).items()
    )
    number = pluralize(len(jobs), "job")
    for (key, reason), count in counts.items():
        log.warning("note     %s has no effect in %d of %s: %s", key, count, number, reason)


def check_splits(jobs: Sequence[Job]) -> None:
    """Check, before any job starts, that the stores have what the jobs split by.

    A store that does not exist yet or cannot be opened is left to the jobs, as are preflight
    checks; finished jobs need none.

    Args:
        jobs: The jobs of a sweep.

    Raises:
        Hep2ganError: A store lacks the specimens or the given parts that a job splits by.
    """
    splits = Counter(
        tuple(str(value_at(job.config, key)) for key in (("split", "kind"), ("data", "store")))
        for job in jobs
        if not job.done and not job.config.get("doctor")
    )
    raise_all(
        [
            Hep2ganError(
                f"{error.fact}, and {count} of {pluralize(len(jobs), 'job')} set split={kind}",
                error.rule,
                f"{error.fix}, or leave {kind} out of the sweep",
            )
            for (kind, store), count in splits.items()
            for error in _split_errors(kind, store)
        ]
    )


def _split_errors(kind: str, path: str) -> list[Hep2ganError]:
    """What the store at `path` lacks for splits of this kind."""
    if kind not in ("specimen", "given"):
        return []
    from hep2gan.data.splits import check_split_possible
    from hep2gan.data.store.store import Store

    with suppress(Hep2ganError):
        return errors_from(check_split_possible, Store.open(Path(path)), kind)
    return []


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
