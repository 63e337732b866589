"""Mapped files that are cut off while they are read, which would end the process (SIGBUS)."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from hep2gan.errors import Hep2ganError


class WholeFiles:
    """Files that must stay as long as they are now; a look takes half a microsecond a file.

    They are held open, so that it is these that are looked at: others that take their names, and
    their deletion, do no harm to what is mapped.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._held: list[BinaryIO] = []
        for path in paths:
            with suppress(OSError):
                self._held.append(path.open("rb", buffering=0))
        self._sizes = [(file.fileno(), os.fstat(file.fileno()).st_size) for file in self._held]

    def require(self) -> None:
        """Raise Hep2ganError where a file was cut off; call before reading from the map."""
        for place, (descriptor, size) in enumerate(self._sizes):
            if (now := os.fstat(descriptor).st_size) < size:
                path = Path(self._held[place].name)
                raise Hep2ganError(
                    f"{path} was cut off while the run used it: {size:,} bytes are now {now:,}",
                    "a run has one store; the checkpoints before are of the whole one",
                    f"restore {path.parent} (pack it again from the same cells), and give the same"
                    " command again: the run goes on from its last checkpoint",
                )

    def __del__(self) -> None:
        for file in getattr(self, "_held", []):
            file.close()
