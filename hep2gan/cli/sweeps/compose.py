"""Compose the jobs of a sweep of trainings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:  # Hydra loads this module for every command.
    from hep2gan.cli.sweeps.jobs import TrainingJob


def jobs_from_overrides(overrides: Sequence[str]) -> "list[TrainingJob]":
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
    from hep2gan.cli.launch.hydra import is_grid

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
) -> "list[TrainingJob]":
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
    from hep2gan.cli.launch.jobs import check_apart
    from hep2gan.cli.sweeps.jobs import TrainingJob, job_name

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
        jobs.append(TrainingJob(number, words, resolve_config(config)))
    check_apart(jobs)
    return jobs
