"""Compose the jobs of a sweep, and convert their outcomes for Hydra."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hep2gan.cli.launch.sweep import Job, Outcome
    from hep2gan.runs.folder import RunFolder


def jobs_from_overrides(overrides: Sequence[str]) -> "list[Job]":
    """The jobs that `hep2gan-train -m` makes of these overrides, in its order; starts none.

    Raises what their composition raises, and Hep2ganError for a sweeper that optimizes.
    """
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    from hep2gan.cli.app import config_folder, prepare_hydra

    prepare_hydra()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("train", list(overrides), RunMode.MULTIRUN)
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
        loader: Hydra's loader of configurations.
        sweep: the configuration of the whole command, whose overrides say what is swept.
        job_overrides: the overrides of each job.
        first: number of the first job.

    Raises:
        Hep2ganError: jobs would share a folder.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from hep2gan.cli.app import quote_override, resolve_config
    from hep2gan.cli.launch.sweep import Job, check_apart, job_name

    parser = OverridesParser.create()
    command = parser.parse_overrides(list(sweep.hydra.overrides.task))
    fixed = {o.get_key_element() for o in command if not o.is_sweep_override()}
    jobs = []
    for number, overrides in enumerate(job_overrides, start=first):
        parsed = parser.parse_overrides(list(overrides))
        swept = {
            key: o.get_value_element_as_str()
            for o in parsed
            if (key := o.get_key_element()) not in fixed
        }
        config = _compose(loader, sweep, overrides)
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


def _compose(loader: Any, sweep: Any, overrides: Sequence[str]) -> "DictConfig":
    from omegaconf import open_dict

    config: DictConfig = loader.load_sweep_config(sweep, list(overrides))
    with open_dict(config):
        del config["hydra"]
    return config


def is_grid(sweep: Any) -> bool:
    """Whether all jobs of a sweep are known before."""
    return str(sweep.hydra.sweeper["_target_"]).endswith("BasicSweeper")


def optimizes(sweep: Any) -> bool:
    """Whether the sweeper optimizes something, rather than running a grid or only looking."""
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
        outcomes: Of the jobs of a sweep.
        of_study: They are trials, each told to its study alone.

    Returns:
        One for each of `outcomes`.
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
    """A stand-in for a plugin that is not installed; says how to install it when it is used."""

    class Missing(kind):  # type: ignore[misc]
        def __init__(self, **_: Any) -> None:
            raise Hep2ganError(
                f"{option} needs a plugin that is not installed",
                "",
                f'pip install "hep2gan[{extra}]"',
            )

    return Missing


def check_objective(config: Mapping[str, Any]) -> None:
    """Raise Hep2ganError unless the objective is measured on a validation part that will be there.

    Args:
        config: The resolved configuration of a job.

    Raises:
        Hep2ganError: The metric is none of the validation's of this method, or there is none.
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
    """Names of the scores of the validation part; those by class are left out."""
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
    """The objective at the epoch that the monitored metric chose, from metrics.csv.

    Raises Hep2ganError when there is no such column.
    """
    # Here, since Hydra loads this module for every command, and Lightning takes seconds.
    from hep2gan.runs.metrics_csv import read_metrics_csv
    from hep2gan.training.trainer import monitor_name

    try:
        rows = read_metrics_csv(run.curves_file).rows
        classifies, objective = config["model"]["classify"], config["optimized_metric"]
        monitor = monitor_name(classifies)
        values = [(float(row[monitor]), float(row[objective])) for row in rows if row[monitor]]
        return max(values)[1]
    except (ValueError, KeyError) as error:
        raise Hep2ganError(
            f"{run.curves_file} has no column {config['optimized_metric']} ({error})",
            "an objective is a val/… column of metrics.csv",
            "set optimized_metric=val/f1 where a classifier is trained, else val/dice",
        ) from error
