"""A lock that allows one training at a time in a run folder, and names its owner."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from hep2gan.errors import Hep2ganError
from hep2gan.io import Owner, file_lock, read_json, write_json

log = logging.getLogger(__name__)

OWNER_FILE = "run.lock"
"""Records the owner of the lock, which is another file (see `io.file_lock`)."""


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
