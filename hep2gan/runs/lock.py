"""A lock that allows one training at a time in a run folder, and names its owner."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from hep2gan.errors import Hep2ganError
from hep2gan.io import file_lock, read_json, write_json

log = logging.getLogger(__name__)

OWNER_FILE = "run.lock"
"""Records the owner of the lock, which is another file (see `io.file_lock`)."""


class Owner(NamedTuple):
    """The process that trains in a run folder.

    Attributes:
        host: Name of its host.
        pid: Its process id.
        since: Local date and time at which it took the lock.
        start_time: Start time of the process according to the system; empty if unknown.
        job: Slurm job id, or empty.
    """

    host: str
    pid: int
    since: str
    start_time: str = ""
    job: str = ""

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
            start_time=_start_time(os.getpid()),
            job=os.environ.get("SLURM_JOB_ID", ""),
        )

    @property
    def has_ended(self) -> bool:
        """Whether it has ended: a process of this host, or an earlier start of a requeued job."""
        if self.host != socket.gethostname():
            return bool(self.job) and self.job == os.environ.get("SLURM_JOB_ID")
        # Process ids are reused: another process with this one started at another time.
        return not _is_alive(self.pid) or _start_time(self.pid) != self.start_time

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder while the block runs.

    The system releases the lock when the process that holds it ends, for whatever reason; on
    network file systems with locks it also holds between hosts. Without such locks, the owner
    recorded in the folder decides: a dead process of this host does not block, a process of another
    host does.

    Args:
        folder: The run folder; created if missing.

    Raises:
        Hep2ganError: If another training runs there (names its owner), or the folder cannot be
            written.
    """
    with ExitStack() as held:
        note = folder / OWNER_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (owner := _acquire(folder, held)) is not None:
                raise locked_error(folder, owner)
            held.callback(_remove, note)
            write_json(note, Owner.current()._asdict(), indent=None)
        except OSError as error:
            raise Hep2ganError(
                f"{folder} cannot be written ({error.strerror or error})",
                "",
                "free space, or choose another place with runs=…",
            ) from error
        yield


def lock_owner(folder: Path) -> Owner | None:
    """Return the process that is training in a run folder now.

    Args:
        folder: The run folder; may be missing.

    Returns:
        Its owner, or None if no training runs there.
    """
    if not (folder / OWNER_FILE).exists():
        return None
    with ExitStack() as held:
        return _acquire(folder, held)


def locked_error(folder: Path, owner: Owner) -> Hep2ganError:
    """Build the error for a folder in which another training runs.

    Args:
        folder: The run folder.
        owner: The process that trains there.
    """
    return Hep2ganError(
        f"{folder} is in use by {owner}",
        "one training at a time writes a run folder",
        f"wait for it, or stop it; if it has surely ended, delete {folder / OWNER_FILE}",
    )


def _acquire(folder: Path, held: ExitStack) -> Owner | None:
    """Acquire the system's lock and register it in `held`, or return its owner."""
    owner = _read_owner(folder / OWNER_FILE)
    try:
        has_locks = held.enter_context(file_lock(folder / "run", wait=False))
    except Timeout:
        return owner or Owner("an unknown host", 0, "a moment ago")
    except OSError:
        # The folder cannot be written; the preflight checks may still read it.
        has_locks = False
    if has_locks and owner is not None:
        log.info("An earlier training in this folder ended without releasing its lock (%s)", owner)
    return None if has_locks or owner is None or owner.has_ended else owner


def _read_owner(path: Path) -> Owner | None:
    try:
        return Owner(**read_json(path))
    except (ValueError, TypeError):
        return None


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # There, os.kill would end it.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_time(pid: int) -> str:
    """Boot and clock tick at which a process started; empty if the system does not report it."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        return ""
