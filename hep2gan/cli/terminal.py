"""Standard output and error that take whatever is printed, on any terminal, pipe or none."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

# A reader that left, as `head` does (on Windows EINVAL), and a terminal that was closed.
_GONE = (errno.EPIPE, errno.EINVAL, errno.EIO)


class _Output(io.FileIO):
    """A file descriptor that swallows what nobody reads any more."""

    def write(self, data: Any) -> int:
        try:
            return int(super().write(data) or 0)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())
        os.close(nothing)
        return memoryview(data).nbytes


def prepare_output() -> None:
    """Let no output end a command: neither its characters, nor a reader that has left.

    Characters that the terminal's encoding lacks are escaped. What is printed after the reader has
    gone is dropped, and the command does what it was to do.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # What stands in its place, as a notebook's, takes everything by itself.
        own = stream is getattr(sys, f"__{name}__")
        setattr(sys, name, _on_descriptor(stream) if own else _escaping(stream))


def _escaping(stream: Any) -> Any:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _on_descriptor(stream: Any) -> Any:
    if stream is None:  # Closed by the caller, as for a service.
        return Path(os.devnull).open("w", encoding="utf-8", errors="replace")
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    if type(stream.buffer if unbuffered else stream.buffer.raw) is not io.FileIO:
        return _escaping(stream)  # A console of Windows; or prepared already.
    stream.flush()
    output = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        cast(BinaryIO, output) if unbuffered else io.BufferedWriter(output),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
