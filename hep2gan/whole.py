"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`, moved into its place when the block ends well.

    Beside it, since a move is atomic only inside one file system; the name holds the process, since
    several ranks may write the same file at once.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes, whole or not at all."""
    with whole(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
