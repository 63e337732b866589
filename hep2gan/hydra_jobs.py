"""From the overrides of a sweep's jobs to their configurations, and from outcomes back to Hydra."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from hep2gan.sweeps import Job, Outcome


def composed_jobs(
    context: Any, sweep: Any, job_overrides: Sequence[Sequence[str]], first: int
) -> "list[Job]":
    """Each job with its resolved configuration, in a run folder of its own.

    sweep: the configuration of the whole command, whose overrides say what is swept. Raises
    Hep2ganError for jobs that would share a folder, or have no objective where one is optimised.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from hep2gan.command import quoted
    from hep2gan.objective import check_objective
    from hep2gan.sweeps import Job, check_apart, named

    parser = OverridesParser.create()
    given = parser.parse_overrides(list(sweep.hydra.overrides.task))
    fixed = {o.get_key_element() for o in given if not o.is_sweep_override()}
    jobs = []
    for number, overrides in enumerate(job_overrides, start=first):
        parsed = parser.parse_overrides(list(overrides))
        swept = {
            key: o.get_value_element_as_str()
            for o in parsed
            if (key := o.get_key_element()) not in fixed
        }
        name = _composed(context, sweep, overrides)["name"]
        overrides = (*overrides, f"name={quoted(named(name, swept))}")
        jobs.append(Job(number, tuple(overrides), _composed(context, sweep, overrides)))
    check_apart(jobs)
    if wants_objective(sweep):
        for job in jobs:
            check_objective(job.config)
    return jobs


def check_alone() -> None:
    """Raise Hep2ganError in a process that is one of several ranks: each would run the sweep."""
    if "RANK" in os.environ:
        raise Hep2ganError(
            "a sweep was started inside torchrun",
            "each job of a sweep starts its own ranks",
            "leave torchrun out: hep2gan-train -m trainer=ddp …",
        )


def _composed(context: Any, sweep: Any, overrides: Sequence[str]) -> dict[str, Any]:
    from omegaconf import open_dict

    from hep2gan.command import resolved

    config = context.config_loader.load_sweep_config(sweep, list(overrides))
    with open_dict(config):
        del config["hydra"]
    return resolved(config)


def wants_objective(sweep: Any) -> bool:
    """Whether the sweeper optimises something, rather than walking a grid."""
    return not sweep.hydra.sweeper["_target_"].endswith("BasicSweeper")


class _Returned(JobReturn):
    """A JobReturn that raises without printing all overrides before."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        """Called by Hydra's sweepers."""
        if self.status == JobStatus.COMPLETED:
            return self._return_value
        raise self._return_value


def job_returns(outcomes: "Sequence[Outcome]", with_objective: bool) -> list[JobReturn]:
    """What Hydra's sweepers expect; each failed job raises the error that names all of them."""
    from hep2gan.objective import objective_of
    from hep2gan.sweeps import summarised

    error = summarised(outcomes)
    returns: list[JobReturn] = []
    for job, problem in outcomes:
        done = problem is None
        measured = done and with_objective and not job.config.get("doctor")
        value = objective_of(job.run, job.config) if measured else None
        returns.append(
            _Returned(
                overrides=list(job.overrides),
                cfg=None,
                status=JobStatus.COMPLETED if done else JobStatus.FAILED,
                _return_value=value if done else error,
            )
        )
    return returns


def missing_plugin(kind: type, option: str, extra: str) -> Any:
    """A stand-in for a plugin that is not installed: says how to get it when it is asked for."""

    class Missing(kind):  # type: ignore[misc]
        def __init__(self, **_: Any) -> None:
            raise Hep2ganError(
                f"{option} needs a plugin that is not installed",
                "",
                f'pip install "hep2gan[{extra}]"',
            )

    return Missing
