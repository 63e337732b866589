"""What may come of a mutated input: the right result, or an error that names file and fix."""

import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hep2gan.errors import Hep2ganError

CPU_SECONDS = 5
WALL_SECONDS = 60
"""Of one input. Waiting for a pipe takes no CPU time; on a busy machine other processes do."""
MEMORY = 2 * 1024**3
"""Address space that a whole campaign may add to what its imports took, in bytes."""


@dataclass(frozen=True)
class Door:
    """One way into the program, and what is right there.

    inputs: mutated inputs. read: put one into the empty folder, read it as the program does.
    check: raise AssertionError unless the result is one that this input may have. told: words of
    which a refusal must hold one, beside the folder's own name.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], Any]
    check: Callable[[Any, Any], None]
    told: tuple[str, ...] = ()


def judge(door: Door, given: Any, folder: Path) -> str:
    """Return "right" or "refused"; raise AssertionError for all that is neither."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.alarm(WALL_SECONDS)
    try:
        result = door.read(given, folder)
        door.check(result, given)
    except Hep2ganError as error:
        _check_refusal(door, error, folder)
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return "right"


def _check_refusal(door: Door, error: Exception, folder: Path) -> None:
    text = str(error)
    assert "Fix:" in text, f"no fix is given: {text[:500]}"
    assert any(word in text for word in (str(folder), *door.told)), f"no file named: {text[:500]}"
    assert len(text) < 200_000, f"{len(text)} characters of error"
    cause: BaseException | None = error
    while cause is not None:
        large = isinstance(cause, MemoryError) or "can't allocate memory" in str(cause)
        place = "".join(traceback.format_tb(cause.__traceback__))
        assert not large, f"more than 2 GiB were asked for:\n{place}"
        cause = cause.__cause__ or cause.__context__


def limit_memory() -> None:
    """From here on this process may take no more than MEMORY beside what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A crash of the process is a finding, its picture is not needed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
