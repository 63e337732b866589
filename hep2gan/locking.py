"""Lock files that vanish with what they lock."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def locked(path: Path, lock: Callable[[int], None]) -> int:
    """Open and lock the file `path` itself, and not one that its last holder has just removed.

    lock: takes the open file and locks it, or raises, which closes it. Returns the open file; its
    holder removes the path before it closes it.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            lock(descriptor)
            # Whoever held the lock has removed its file; then ours is a file that nobody sees.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
