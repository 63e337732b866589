"""One training at a time in a run folder; whoever comes second is told who is there."""

import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.io import flock

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

LOCK = "run.lock"


class Owner(NamedTuple):
    """Who trains in a folder. born: what the system calls the start of that process, or ''.

    job: Slurm's job, or ''.
    """

    host: str
    pid: int
    started: str
    born: str = ""
    job: str = ""

    @classmethod
    def this(cls) -> "Owner":
        """This process."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        pid, job = os.getpid(), os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), pid, now, _born(pid), job)

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended: a process of this host, or a requeued job's first."""
        if self.host != socket.gethostname():
            return bool(self.job) and self.job == os.environ.get("SLURM_JOB_ID")
        # A number is given out again: another process with it was born at another time.
        return not _lives(self.pid) or _born(self.pid) != self.born

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Keep other trainings out of `folder` while the block runs; raises Hep2ganError if one is in.

    The system's lock goes with the process that holds it, however that ends, and holds between
    hosts on network file systems that have locks. Where there are none, the owner written in the
    file counts: a dead process of this host does not block, one of another host does.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(path)
        owner = json.dumps(Owner.this()._asdict()) + "\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
    except OSError as error:
        fact = f"{folder} cannot be written ({error.strerror or error})"
        raise Hep2ganError(fact, "", "free space, or choose another place with runs=…") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def lock_owner(folder: Path) -> Owner | None:
    """Who trains in `folder` now; None where nobody does."""
    path = folder / LOCK
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _other(descriptor)
    finally:
        os.close(descriptor)


def locked_error(folder: Path, owner: Owner) -> Hep2ganError:
    """The error for a folder in which another training runs."""
    return Hep2ganError(
        f"{folder} is in use by {owner}",
        "one training at a time writes a run folder",
        f"wait for it, or stop it; if it is surely gone, delete {folder / LOCK}",
    )


def _taken(path: Path) -> int:
    def lock(descriptor: int) -> None:
        if (owner := _other(descriptor)) is not None:
            raise locked_error(path.parent, owner)

    return flock(path, lock)


def _other(descriptor: int) -> Owner | None:
    """Take the system's lock, or say who has it."""
    owner, has_locks = _read(descriptor), sys.platform != "win32"
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return owner or Owner("an unknown host", 0, "a moment ago")
        except OSError as error:
            log.debug("this file system has no locks (%s)", error)
            has_locks = False
    if owner is not None and has_locks:
        log.info("An earlier training in this folder ended without a word (%s)", owner)
    return None if has_locks or owner is None or owner.is_gone else owner


def _read(descriptor: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _born(pid: int) -> str:
    """Boot and clock tick at which a process began; '' where the system does not tell."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        return ""
