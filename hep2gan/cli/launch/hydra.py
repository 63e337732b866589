"""A sweep that Hydra composes: its jobs launched, their outcomes converted for Hydra's sweepers."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hydra.core.utils import JobReturn, JobStatus

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:  # Hydra loads this module for every command.
    from hep2gan.cli.launch.jobs import Job, Outcome


class Sweep(Protocol):
    """What a project tells of a sweep that Hydra composes: its jobs, and what they are worth."""

    def compose(
        self, loader: Any, sweep: Any, job_overrides: Sequence[Sequence[str]], first: int
    ) -> "Sequence[Job]":
        """Compose the configuration of each job, with a folder of its own.

        Args:
            loader: Hydra's configuration loader.
            sweep: The configuration of the whole command, with Hydra's own group.
            job_overrides: The overrides of each job.
            first: Number of the first job.

        Raises:
            Hep2ganError: Jobs would share a folder, see `jobs.check_apart`.
        """

    def warn(self, jobs: "Sequence[Job]") -> None:
        """Log what is strange about the jobs and refuses none of them."""

    def check(self, jobs: "Sequence[Job]") -> None:
        """Check, before any job starts, what all of them need.

        Raises:
            Hep2ganError: Some of them could not run.
        """

    def results(self, jobs: "Sequence[Job]") -> Iterable[str]:
        """Write lines of the results of finished jobs, and what to do with them."""

    def objective(self, job: "Job") -> float:
        """Read the value of a finished job that a study optimizes.

        Raises:
            Hep2ganError: It has none.
        """


def launch_jobs(
    hydra: tuple[Any, Any],
    job_overrides: Sequence[Sequence[str]],
    first: int,
    sweep: Sweep,
    run: "Callable[[Sequence[Job]], Sequence[Outcome]]",
) -> list[JobReturn]:
    """Compose and check the jobs of a sweep, run them, and convert their outcomes for Hydra.

    This is what `launch` of a Hydra launcher calls.

    Args:
        hydra: Hydra's configuration loader, and the configuration of the whole command.
        job_overrides: The overrides of each job.
        first: Number of the first job.
        sweep: What the jobs are.
        run: Runs the jobs and returns how each ended, such as `processes.run_jobs`.

    Returns:
        One JobReturn for each job.

    Raises:
        Hep2ganError: The jobs cannot be composed or cannot start, or this is one of several ranks.
    """
    if "RANK" in os.environ:
        raise Hep2ganError(
            "a sweep was started inside torchrun",
            "each job of a sweep starts its own ranks",
            "leave torchrun out: what a job is says how many devices it has",
        )
    loader, config = hydra
    jobs = sweep.compose(loader, config, job_overrides, first)
    of_study = not (is_grid(config) or jobs[0].checks_only)
    if not of_study:
        sweep.warn(jobs)
    sweep.check(jobs)
    return job_returns(run(jobs), sweep, of_study)


def is_grid(sweep: Any) -> bool:
    """Tell whether all jobs of a sweep are known before it starts.

    Args:
        sweep: The configuration of the whole command, with Hydra's own group.

    Returns:
        True for Hydra's basic sweeper, false for any other.
    """
    return str(sweep.hydra.sweeper["_target_"]).endswith("BasicSweeper")


class QuietReturn(JobReturn):
    """A JobReturn that raises without printing all overrides first."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        """Called by Hydra's sweepers."""
        if self.status == JobStatus.COMPLETED:
            return self._return_value
        raise self._return_value


def job_returns(outcomes: "Sequence[Outcome]", sweep: Sweep, of_study: bool) -> list[JobReturn]:
    """Convert outcomes for Hydra's sweepers; a failed job raises the error that names them all.

    Args:
        outcomes: How each job ended.
        sweep: What the jobs are.
        of_study: Whether the jobs are trials of a study: each returns its objective or raises its
            own error.

    Returns:
        One JobReturn for each outcome, in the same order.
    """
    from hep2gan.cli.launch.outcomes import summarize

    summary = None if of_study else summarize(outcomes, sweep.results)
    objective = sweep.objective if of_study else None
    return [
        _job_return(job, (summary or Hep2ganError(problem)) if problem else None, objective)
        for job, problem in outcomes
    ]


def _job_return(
    job: "Job", error: Exception | None, objective: "Callable[[Job], float] | None"
) -> JobReturn:
    value = None
    if error is None and objective is not None:
        try:
            value = objective(job)
        except Hep2ganError as missing:
            error = missing
    return QuietReturn(
        overrides=list(job.overrides),
        working_dir=str(job.folder),
        status=JobStatus.FAILED if error else JobStatus.COMPLETED,
        _return_value=error or value,
    )


def missing_plugin(kind: type, option: str, install: str) -> Any:
    """Make a placeholder for a plugin that is not installed; it says how to install it when used.

    Args:
        kind: The class that the plugin's class would be derived from.
        option: The option that needs the plugin, such as "hydra/launcher=slurm".
        install: The command that installs it.

    Returns:
        A class that raises Hep2ganError when it is instantiated.
    """

    class Missing(kind):  # type: ignore[misc]
        def __init__(self, **_: Any) -> None:
            raise Hep2ganError(f"{option} needs a plugin that is not installed", "", install)

    return Missing
