"""What a launcher must know of a job, and which jobs are still to be run."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from hep2gan.errors import Hep2ganError, bullet_list

log = logging.getLogger(__name__)


class Job(Protocol):
    """One job: a command, the folder that it writes, and what that folder tells of it.

    The folder decides: a job whose folder says that it is done is not started again, whatever
    started it. So the same launch, given again, goes on with what is left.
    """

    @property
    def number(self) -> int:
        """Its number among the jobs, from 0."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """Its words of the command line; told to Hydra's sweepers, empty without Hydra."""

    @property
    def folder(self) -> Path:
        """Where it writes, alone; output.log in it gets what it prints. Need not exist."""

    @property
    def title(self) -> str:
        """Its name in what the launcher logs, such as "[0] proposed seed 0"."""

    @property
    def done(self) -> bool:
        """Whether it is finished, by what its folder holds; raises nothing."""

    @property
    def checks_only(self) -> bool:
        """Whether it only looks whether it could start: nothing is kept, nothing is done."""

    def check_folder(self) -> None:
        """Check that its folder holds nothing of another job.

        Raises:
            Hep2ganError: The folder is another job's; this one is not started.
        """

    def command(self) -> AbstractContextManager[Sequence[str]]:
        """Enter what the process needs, such as a file of settings; gives its command line.

        The process saves and ends at SIGTERM; what its last line says, or its last lines from one
        that begins with "error: ", is told where the job is not done afterwards.
        """

    def saved(self) -> str:
        """Tell what the next start goes on from, such as "epoch 3 is saved"."""

    def findings(self, output: str) -> tuple[Sequence[str], str]:
        """Read what it printed where it only looked.

        Args:
            output: All that it printed.

        Returns:
            Notes, which several jobs may share, and what prevents its start, '' if it printed none.
        """


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        job: The job.
        problem: Why it is not finished; None when it is.
    """

    job: Job
    problem: str | None


def check_apart(jobs: Sequence[Job]) -> None:
    """Check that no two jobs write into the same folder.

    Args:
        jobs: The jobs of one launch.

    Raises:
        Hep2ganError: Two jobs share a folder.
    """
    counts = Counter(str(job.folder) for job in jobs)
    if twice := [folder for folder, count in counts.items() if count > 1]:
        raise Hep2ganError(
            f"several jobs of the sweep would write into the same folder\n{bullet_list(twice)}\n",
            "a run folder is one configuration",
            "give each value once",
        )


def unfinished_jobs(jobs: Sequence[Job], outcomes: dict[int, Outcome]) -> Iterator[Job]:
    """Yield the jobs to start; add the outcomes of the others to `outcomes`.

    Args:
        jobs: The jobs of one launch.
        outcomes: Outcomes by job number; gets those of jobs that are done or whose folder is
            another job's.

    Yields:
        Each job that is not finished.
    """
    for job in jobs:
        try:
            if not job.checks_only:
                job.check_folder()
        except Hep2ganError as error:
            outcomes[job.number] = Outcome(job, str(error))
            continue
        if job.checks_only or not job.done:
            yield job
        else:
            outcomes[job.number] = Outcome(job, None)
            log.info("%s  done before", job.title)
