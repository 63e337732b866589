"""Compose the jobs of a sweep, and convert their outcomes for Hydra."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:  # Hydra loads this module for every command.
    from hep2gan.cli.launch.jobs import Job, Outcome


def jobs_from_overrides(overrides: Sequence[str]) -> "list[Job]":
    """Compose the jobs that `hep2gan-train -m` makes of these overrides; start none.

    Args:
        overrides: Arguments of the command line, such as "seed=0,1".

    Returns:
        The jobs in Hydra's order.

    Raises:
        Hep2ganError: The sweeper chooses its jobs during the sweep, or two jobs would share a
            folder.
        HydraException: The overrides cannot be composed.
    """
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    from hep2gan.cli.app import config_folder, prepare_hydra, quote_text

    prepare_hydra()
    words = [quote_text(override, multirun=True) for override in overrides]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("train", words, RunMode.MULTIRUN)
        if not is_grid(sweep):
            raise Hep2ganError(
                f"{sweep.hydra.sweeper['_target_']} chooses its jobs as it goes",
                "all jobs must be known before",
                "leave hydra/sweeper out",
            )
        grid = [f"{key}={value}" for key, value in (sweep.hydra.sweeper.params or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*grid, *sweep.hydra.overrides.task])
        (batch,) = BasicSweeper.split_arguments(parsed, None)
        return compose_jobs(loader, sweep, batch, 0)


def compose_jobs(
    loader: Any, sweep: Any, job_overrides: Sequence[Sequence[str]], first: int
) -> "list[Job]":
    """Compose the configuration of each job, with a run folder of its own.

    Args:
        loader: Hydra's configuration loader.
        sweep: The configuration of the whole command, whose overrides say which keys are swept.
        job_overrides: The overrides of each job.
        first: Number of the first job.

    Returns:
        The jobs, in the order of `job_overrides`.

    Raises:
        Hep2ganError: Jobs would share a folder.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import open_dict

    from hep2gan.cli.app import quote_override, resolve_config
    from hep2gan.cli.launch.jobs import Job, check_apart, job_name

    parser = OverridesParser.create()
    command = parser.parse_overrides(list(sweep.hydra.overrides.task))
    fixed = {o.get_key_element() for o in command if not o.is_sweep_override()}
    jobs = []
    for number, overrides in enumerate(job_overrides, start=first):
        swept = {
            key: o.get_value_element_as_str()
            for o in parser.parse_overrides(list(overrides))
            if (key := o.get_key_element()) not in fixed
        }
        config = loader.load_sweep_config(sweep, list(overrides))
        with open_dict(config):
            del config["hydra"]
        config["name"] = job_name(config["name"], swept)
        words = (*overrides, f"name={quote_override(config['name'])}")
        jobs.append(Job(number, words, resolve_config(config)))
    check_apart(jobs)
    return jobs


def launch_jobs(
    loader: Any,
    sweep: Any,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    run: "Callable[[list[Job]], Sequence[Outcome]]",
) -> list[JobReturn]:
    """Compose and check the jobs of a sweep, run them, and convert their outcomes for Hydra.

    Args:
        loader: Hydra's configuration loader.
        sweep: The configuration of the whole command.
        job_overrides: The overrides of each job.
        first: Number of the first job.
        run: Runs the jobs and returns how each ended.

    Returns:
        One JobReturn for each job.

    Raises:
        Hep2ganError: The jobs cannot be composed or cannot start, or this is one of several ranks.
    """
    from hep2gan.cli.launch.jobs import check_splits, tell_idle
    from hep2gan.training.signals import SignalHandler

    if "RANK" in os.environ:
        raise Hep2ganError(
            "a sweep was started inside torchrun",
            "each job of a sweep starts its own ranks",
            "leave torchrun out: hep2gan-train -m trainer=ddp …",
        )
    jobs = compose_jobs(loader, sweep, job_overrides, first)
    of_study = not (is_grid(sweep) or sweep.doctor)
    if not of_study:
        tell_idle(jobs)
    check_splits(jobs)
    with SignalHandler().listening():
        outcomes = run(jobs)
    return job_returns(outcomes, of_study)


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


def job_returns(outcomes: "Sequence[Outcome]", of_study: bool) -> list[JobReturn]:
    """Convert outcomes for Hydra's sweepers; a failed job raises the error that names them all.

    Args:
        outcomes: How each job ended.
        of_study: Whether the jobs are trials of a study: each returns the optimized metric or
            raises its own error.

    Returns:
        One JobReturn for each outcome, in the same order.
    """
    from hep2gan.cli.launch.outcomes import summarize

    summary = None if of_study else summarize(outcomes)
    return [
        _job_return(job, (summary or Hep2ganError(problem)) if problem else None, of_study)
        for job, problem in outcomes
    ]


def _job_return(job: "Job", error: Exception | None, of_study: bool) -> JobReturn:
    from hep2gan.cli.launch.objective import objective_value

    value = None
    if error is None and of_study:
        try:
            value = objective_value(job.run, job.config)
        except Hep2ganError as missing:
            error = missing
    return QuietReturn(
        overrides=list(job.overrides),
        working_dir=str(job.run.path),
        status=JobStatus.FAILED if error else JobStatus.COMPLETED,
        _return_value=error or value,
    )


def missing_plugin(kind: type, option: str, extra: str) -> Any:
    """Make a placeholder for a plugin that is not installed; it says how to install it when used.

    Args:
        kind: The class that the plugin's class would be derived from.
        option: The option that needs the plugin, such as "hydra/launcher=slurm".
        extra: The extra of this package that installs it.

    Returns:
        A class that raises Hep2ganError when it is instantiated.
    """

    class Missing(kind):  # type: ignore[misc]
        def __init__(self, **_: Any) -> None:
            raise Hep2ganError(
                f"{option} needs a plugin that is not installed",
                "",
                f'pip install "hep2gan[{extra}]"',
            )

    return Missing
