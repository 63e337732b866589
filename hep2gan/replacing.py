"""Writing a folder whole or not at all, one process at a time."""

import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hep2gan.errors import Hep2ganError
from hep2gan.locking import locked

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)


@contextmanager
def exclusive(destination: Path) -> Iterator[None]:
    """Wait until no other process writes `destination`, and keep others waiting.

    The lock goes with the process that holds it, however that ends. Where the system has no file
    locks (Windows, some network file systems), nobody waits.
    """
    path = destination.with_name(f".{destination.name}.lock")
    descriptor = locked(path, partial(_lock, path))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: waiting for another process that is writing it", path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        log.debug("%s: this file system has no locks (%s)", path, error)


@contextmanager
def replaced(destination: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `destination` if the block succeeds.

    What an earlier, killed process left behind is removed. Call under `exclusive`.
    """
    staged = destination.with_name(f".{destination.name}.partial")
    former = destination.with_name(f".{destination.name}.former")
    if former.exists() and not destination.exists():
        former.rename(destination)
    for left in (staged, former):
        if left.exists():
            shutil.rmtree(left)
    staged.mkdir()
    try:
        yield staged
        for path in (*staged.iterdir(), staged):
            _to_disk(path)
        _swap(staged, destination, former)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _swap(staged: Path, destination: Path, former: Path) -> None:
    if destination.exists():
        destination.rename(former)
    try:
        staged.rename(destination)
    except OSError:
        if former.exists():
            former.rename(destination)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _to_disk(path: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refuse_foreign(destination: Path, files: Collection[str], marker: str) -> None:
    """Raise Hep2ganError where something is in the way that is not ours to replace.

    Ours is a missing or empty folder, or one with the file `marker` and nothing beside `files`.
    """
    if not destination.exists():
        return
    fix = "choose another destination, or move it away"
    if not destination.is_dir():
        raise Hep2ganError(f"{destination} is a file", "a store is a folder", fix)
    names = {path.name for path in destination.iterdir()}
    foreign = sorted(names - set(files))
    if foreign:
        fact = f"{destination} holds {foreign[0]}, which is no part of a store"
        raise Hep2ganError(fact, "only a store is replaced by a store", fix)
    if names and marker not in names:
        fact = f"{destination} lacks {marker}"
        raise Hep2ganError(fact, "only a store is replaced by a store", fix)
