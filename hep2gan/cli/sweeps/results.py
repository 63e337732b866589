"""What a sweep tells of its finished runs: their main results, and the command of their report."""

import math
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hep2gan.cli.sweeps.jobs import TrainingJob
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder

_MEASURES = ("test/accuracy", "test/f1", "test/dice")


def results_table(jobs: Sequence[TrainingJob]) -> list[str]:
    """List the main results of finished jobs.

    Args:
        jobs: Finished jobs.

    Returns:
        A heading and a line for each job; empty if no job has results.
    """
    results = {job.run.path: _metrics(job.run) for job in jobs}
    names = [name for name in _MEASURES if any(name in found for found in results.values())]
    rows = [
        "  ".join([*(f"{_shown(found.get(name)):<13}" for name in names), str(path)])
        + ("  (all masks are alike)" if found.get("test/constant_masks") else "")
        for path, found in results.items()
    ]
    return ["  ".join(f"{name:<13}" for name in names), *rows] if names else []


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _metrics(run: RunFolder) -> dict[str, float]:
    """Return the metrics of a run; none where they are damaged, which its report tells."""
    with suppress(Hep2ganError):
        return run.metrics()
    return {}


def report_command(studies: Iterable[Path]) -> str:
    """Write the command that makes a report of study folders.

    Args:
        studies: Folders of studies, some perhaps several times.

    Returns:
        A command line for a shell.
    """
    return shlex.join(["hep2gan-report", *map(str, dict.fromkeys(studies))])
