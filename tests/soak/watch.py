"""What a running process holds, from Linux's /proc."""

import os
import re
from pathlib import Path
from typing import NamedTuple


class Holdings(NamedTuple):
    """done: jobs finished by then. memory: resident, MiB. files: open descriptors.

    configurations: files in its temporary folder, one for each job that runs.
    """

    done: int
    memory: float
    files: int
    children: int
    configurations: int


def holdings(pid: int, done: int, temporary: Path) -> Holdings:
    """Raises OSError once the process is gone."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise ProcessLookupError(pid)
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return Holdings(
        done,
        int(found[1]) / 1024,
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        sum(len(path.read_text().split()) for path in children),
        len(list(temporary.glob("hep2gan-*.json"))),
    )


def processes_with(variable: str) -> list[int]:
    """Numbers of the processes that were started with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
