"""How the jobs of a sweep ended, in words: failures, results, and what a stop leaves."""

import logging
import math
import shlex
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hep2gan.cli.command_line import this_command
from hep2gan.cli.launch.jobs import Job, Outcome
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.runs.folder import RunFolder

log = logging.getLogger(__name__)


def describe_failure(status: int | None, output: Path) -> str:
    """Describe in one sentence a run that did not finish: its status, its last words, its log.

    Args:
        status: Exit status, negative for a signal; None if it is unknown.
        output: The file with what the run printed.

    Returns:
        The sentence, shortened if the output is long.
    """
    text = output.read_text(errors="replace") if output.is_file() else ""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    # An error may have several lines; of other output the last one counts.
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    words = " ".join(lines[errors[-1] if errors else -1 :]) or "it printed nothing"
    how = "no exit status" if status is None else f"exit status {status}"
    if status is not None and status < 0:
        how = f"ended by {signal.Signals(-status).name}"
    return f"{how}; {words[:600]} (log: {output})"


@contextmanager
def told_when_stopped(jobs: Sequence[Job]) -> Iterator[None]:
    """Log after a stop what is finished, what is saved, and what goes on.

    Args:
        jobs: The jobs of a sweep.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        left = [job.run for job in jobs if not job.done]
        if left and not jobs[0].config.get("doctor"):
            log.info("%d of %s finished, left:", len(jobs) - len(left), pluralize(len(jobs), "job"))
            log.info(bullet_list([f"{run.path}: {_what_is_saved(run)}" for run in left]))
            log.info("The same command goes on: %s", this_command())
        raise


def _what_is_saved(run: RunFolder) -> str:
    saved = [path.name for path in run.checkpoints.glob("epoch*.ckpt")]
    return f"{max(saved)} is saved" if saved else "nothing is saved yet"


_MEASURES = ("test/accuracy", "test/f1", "test/dice")


def results_table(jobs: Sequence[Job]) -> list[str]:
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


def summarize(outcomes: Sequence[Outcome]) -> Hep2ganError | None:
    """Log how many jobs are done and their results, and make the error that names the others.

    Args:
        outcomes: How each job ended.

    Returns:
        The error; None if all jobs are finished.
    """
    failed = [outcome for outcome in outcomes if outcome.problem]
    done = [outcome.job for outcome in outcomes if not outcome.problem]
    doctor = bool(outcomes and outcomes[0].job.config.get("doctor"))
    count = pluralize(len(outcomes), "job")
    log.info(
        "%s checked: %d can start, %d cannot; nothing was trained"
        if doctor
        else "%s: %d done, %d failed",
        count,
        len(done),
        len(failed),
    )
    if done and not doctor:
        for line in results_table(done):
            log.info(line)
        log.info(report_command(job.run.path.parent.parent for job in done))
    if not failed:
        return None
    lines = [f"{outcome.job.run.path}: {outcome.problem}" for outcome in failed]
    if doctor:
        return Hep2ganError(
            f"{len(failed)} of {count} cannot start\n{bullet_list(lines, limit=len(lines))}\n",
            "nothing was started",
            "correct the cause and give the same command again",
        )
    return Hep2ganError(
        f"{len(failed)} of {count} failed\n{bullet_list(lines, limit=len(lines))}\n",
        "the others are finished",
        "correct the cause and give the same command again: it resumes all that is not done",
    )
