"""How jobs ended, in words: failures, results, and what a stop leaves."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hep2gan.cli.launch.jobs import Job, Outcome
from hep2gan.errors import Hep2ganError, bullet_list, pluralize

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
def told_when_stopped(jobs: Sequence[Job], again: str = "") -> Iterator[None]:
    """Log after a stop what is finished, what is saved, and what goes on.

    Args:
        jobs: The jobs of one launch.
        again: The command that launched them, for a shell; '' where there is none.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        left = [job for job in jobs if not job.done]
        if left and not jobs[0].checks_only:
            log.info("%d of %s finished, left:", len(jobs) - len(left), pluralize(len(jobs), "job"))
            log.info(bullet_list([f"{job.folder}: {job.saved()}" for job in left]))
            if again:
                log.info("The same command goes on: %s", again)
        raise


def summarize(
    outcomes: Sequence[Outcome], results: Callable[[Sequence[Job]], Iterable[str]] | None = None
) -> Hep2ganError | None:
    """Log how many jobs are done and their results, and make the error that names the others.

    Args:
        outcomes: How each job ended.
        results: Writes lines of the results of finished jobs; None for none.

    Returns:
        The error; None if all jobs are finished.
    """
    failed = [outcome for outcome in outcomes if outcome.problem]
    done = [outcome.job for outcome in outcomes if not outcome.problem]
    checked = bool(outcomes and outcomes[0].job.checks_only)
    count = pluralize(len(outcomes), "job")
    log.info(
        "%s checked: %d can start, %d cannot; nothing was trained"
        if checked
        else "%s: %d done, %d failed",
        count,
        len(done),
        len(failed),
    )
    if done and results and not checked:
        for line in results(done):
            log.info("%s", line)
    if not failed:
        return None
    lines = [f"{outcome.job.folder}: {outcome.problem}" for outcome in failed]
    if checked:
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
