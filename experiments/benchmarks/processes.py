"""Whole processes, from their start to their end, timed in pairs."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from os import environ

from experiments.benchmarks.pairs import Ratio, in_pairs


def python(*words: str) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *words]


def process_ratio(
    ours: Sequence[str],
    theirs: Sequence[str],
    *,
    pairs: int,
    environment: Mapping[str, str] | None = None,
) -> Ratio:
    """Seconds of one command over seconds of another; environment: what `ours` finds besides."""

    def mine() -> float:
        return process_seconds(ours, environment)

    def others() -> float:
        return process_seconds(theirs)

    return Ratio.of(*in_pairs(mine, others, pairs=pairs))


def process_seconds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a process. Raises CalledProcessError, with what it printed, where it failed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**environ, **(environment or {})})
    return time.perf_counter() - start
