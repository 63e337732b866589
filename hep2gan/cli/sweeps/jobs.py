"""The jobs of a sweep of trainings: their names and folders, their commands, what they need."""

import hashlib
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hep2gan.cli.idle import keys_without_effect
from hep2gan.cli.local import run_settings
from hep2gan.cli.worker import config_file
from hep2gan.errors import Hep2ganError, errors_from, pluralize, raise_all
from hep2gan.runs.folder import RUNTIME_KEYS, RunFolder
from hep2gan.settings import value_at

log = logging.getLogger(__name__)

# Keys that are no part of a job's name: they are in the run folder's path, or nowhere.
_UNNAMED = frozenset({"method", "seed", "study", "name", "run_dir"}) | RUNTIME_KEYS
_MAX_LENGTH = 150


class TrainingJob(NamedTuple):
    """One run of a sweep, as `hep2gan.cli.launch` wants a job.

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
        return RunFolder(self.folder)

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return Path(self.config["run_dir"])

    @property
    def title(self) -> str:
        """Its number, method and seed."""
        return f"[{self.number}] {self.config['name']} seed {self.config['seed']}"

    @property
    def done(self) -> bool:
        """Whether its run is finished, with as many epochs as the job has."""
        # A folder that cannot be read is not done: its job tells why.
        with suppress(Hep2ganError):
            return self.run.done_with(self.config)
        return False

    @property
    def checks_only(self) -> bool:
        """Whether it is a preflight check, doctor=true."""
        return bool(self.config.get("doctor"))

    def check_folder(self) -> None:
        """Check that its folder holds no run of another configuration.

        Raises:
            Hep2ganError: It does, or the configuration is wrong.
        """
        if self.run.config_file.exists():
            # Here, since it imports torch, which only a second launch needs.
            from hep2gan.config import parse_config

            config = parse_config(run_settings(self.config), self.config.get("trusted", ()))
            self.run.check_config(config.to_plain())

    @contextmanager
    def command(self) -> Iterator[Sequence[str]]:
        """Write its configuration to a file while the process runs; gives the command line."""
        with config_file(self.config) as file:
            yield sys.executable, "-m", "hep2gan.cli.worker", str(file)

    def saved(self) -> str:
        """Tell which checkpoint the next start goes on from."""
        saved = [path.name for path in self.run.checkpoints.glob("epoch*.ckpt")]
        return f"{max(saved)} is saved" if saved else "nothing is saved yet"

    def findings(self, output: str) -> tuple[Sequence[str], str]:
        """Read what the preflight check printed.

        Args:
            output: All of it.

        Returns:
            The notes, and the problems.
        """
        noted, _, problems = output.partition("\nproblem ")
        notes = [line for line in noted.splitlines() if line.startswith(("note ", "skipped "))]
        return notes, problems.strip()


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


def tell_idle(jobs: Sequence[TrainingJob]) -> None:
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


def check_splits(jobs: Sequence[TrainingJob]) -> None:
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
        if not job.done and not job.checks_only
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
