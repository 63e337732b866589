"""Compose the jobs of a sweep, and convert their outcomes for Hydra."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from hep2gan.cli.launch.sweep import Job, Outcome
    from hep2gan.runs.folder import RunFolder


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
    from hep2gan.cli.launch.sweep import Job, check_apart, job_name

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


def refuse_ranks() -> None:
    """Raise Hep2ganError in a process that is one of several ranks: each would run the sweep."""
    if "RANK" in os.environ:
        raise Hep2ganError(
            "a sweep was started inside torchrun",
            "each job of a sweep starts its own ranks",
            "leave torchrun out: hep2gan-train -m trainer=ddp …",
        )


def is_grid(sweep: Any) -> bool:
    """Tell whether all jobs of a sweep are known before it starts.

    Args:
        sweep: The configuration of the whole command, with Hydra's own group.

    Returns:
        True for Hydra's basic sweeper, false for any other.
    """
    return str(sweep.hydra.sweeper["_target_"]).endswith("BasicSweeper")


def optimizes(sweep: Any) -> bool:
    """Tell whether the sweeper optimizes a metric, rather than running a grid or only checks.

    Args:
        sweep: The configuration of the whole command, with Hydra's own group.

    Returns:
        False for Hydra's basic sweeper and with doctor=true.
    """
    return not (is_grid(sweep) or sweep.doctor)


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
    from hep2gan.cli.launch.sweep import summarize

    if of_study:
        errors = [Hep2ganError(problem) if problem else None for _, problem in outcomes]
    else:
        error = summarize(outcomes)
        errors = [error if problem else None for _, problem in outcomes]
    jobs = [job for job, _ in outcomes]
    return [_job_return(job, why, of_study) for job, why in zip(jobs, errors, strict=True)]


def _job_return(job: "Job", error: Exception | None, of_study: bool) -> JobReturn:
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


def check_objective(config: Mapping[str, Any]) -> None:
    """Check that the optimized metric is measured on a validation part that will exist.

    Args:
        config: The resolved configuration of one job.

    Raises:
        Hep2ganError: `optimized_metric` is no val/… metric of this method, or there is no
            validation part.
    """
    objective, split = config["optimized_metric"], config["split"]
    if not str(objective).startswith("val/"):
        raise Hep2ganError(
            f"optimized_metric is {objective}",
            "hyperparameters are chosen on the validation part, never on the test part",
            "set optimized_metric=val/f1, val/dice or another val/… column of metrics.csv",
        )
    if (model := config["model"])["baseline"]:
        raise Hep2ganError(
            "the method is a forest",
            "it has no validation, which a study optimizes on",
            "choose a method with networks, or a grid: leave hydra/sweeper out",
        )
    known = measured(model["segment"], model["classify"])
    # By class, too: val/dice/Golgi.
    if "/".join(str(objective).split("/")[:2]) not in known:
        raise Hep2ganError(
            f"optimized_metric is {objective}",
            f"this method measures {', '.join(known)}",
            f"set optimized_metric={'val/f1' if model['classify'] else 'val/dice'}",
        )
    if split["kind"] != "given" and not split["validation_fraction"]:
        raise Hep2ganError(
            f"optimized_metric is {objective}, but split.validation_fraction is 0",
            "hyperparameters are chosen on the validation part",
            "set split.validation_fraction=0.1",
        )


def measured(segments: bool, classifies: bool) -> list[str]:
    """Name the metrics of the validation part; those by class are left out.

    Args:
        segments: Whether the method has a generator.
        classifies: Whether the method has a classifier.

    Returns:
        Names such as "val/dice".
    """
    import torch

    from hep2gan.metrics.validation import ValidationMetrics

    metrics = ValidationMetrics(["a", "b"], segments=segments, classifies=classifies)
    mask, label = torch.ones(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64)
    scores = torch.tensor([[1.0, 0.0]])
    metrics.update(
        mask if segments else None, scores if classifies else None, None, truth=mask, label=label
    )
    return [name for name in metrics.flush() if name.count("/") == 1]


def objective_value(run: "RunFolder", config: Mapping[str, Any]) -> float:
    """Read the optimized metric at the epoch that the monitored metric chose, from metrics.csv.

    Args:
        run: The folder of a finished run.
        config: Its resolved configuration.

    Returns:
        The value of `optimized_metric` at the epoch with the highest monitored metric.

    Raises:
        Hep2ganError: metrics.csv has no such column.
    """
    # Here, since Hydra loads this module for every command, and Lightning takes seconds.
    from hep2gan.runs.metrics_csv import read_metrics_csv
    from hep2gan.training.trainer import monitor_name

    try:
        rows = read_metrics_csv(run.curves_file).rows
        monitor, objective = monitor_name(config["model"]["classify"]), config["optimized_metric"]
        values = [(float(row[monitor]), float(row[objective])) for row in rows if row[monitor]]
        return max(values)[1]
    except (ValueError, KeyError) as error:
        raise Hep2ganError(
            f"{run.curves_file} has no column {config['optimized_metric']} ({error})",
            "an objective is a val/… column of metrics.csv",
            "set optimized_metric=val/f1 where a classifier is trained, else val/dice",
        ) from error
