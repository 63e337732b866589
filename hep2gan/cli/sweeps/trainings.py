"""Sweeps of trainings under the launchers: on this machine, through Slurm, as a study."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hep2gan.cli.command_line import this_command
from hep2gan.cli.launch.jobs import Job, Outcome
from hep2gan.cli.launch.slots import DeviceSlots, Needs
from hep2gan.cli.sweeps.compose import compose_jobs
from hep2gan.cli.sweeps.jobs import TrainingJob, check_splits, tell_idle
from hep2gan.cli.sweeps.results import report_command, results_table
from hep2gan.cli.sweeps.settings import ProcessSettings, SlurmSettings, SweeperSettings
from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RUNTIME_KEYS
from hep2gan.settings import errors_of, parse

if TYPE_CHECKING:
    from hep2gan.cli.launch.optimize import StudyOptions

log = logging.getLogger(__name__)


class TrainingSweep:
    """What `hep2gan.cli.launch` must know of a sweep of trainings."""

    free_keys = RUNTIME_KEYS | {"doctor"}
    """Keys that may change between two starts of a study."""

    def compose(
        self, loader: Any, sweep: Any, job_overrides: Sequence[Sequence[str]], first: int
    ) -> Sequence[TrainingJob]:
        """Compose the configuration of each job, see `compose.compose_jobs`."""
        return compose_jobs(loader, sweep, job_overrides, first)

    def warn(self, jobs: Sequence[Job]) -> None:
        """Warn of keys that change nothing, see `jobs.tell_idle`."""
        tell_idle(_trainings(jobs))

    def check(self, jobs: Sequence[Job]) -> None:
        """Check the splits of the jobs, see `jobs.check_splits`."""
        check_splits(_trainings(jobs))

    def results(self, jobs: Sequence[Job]) -> Iterable[str]:
        """List the results of finished jobs, then the command of their report."""
        trainings = _trainings(jobs)
        yield from results_table(trainings)
        yield report_command(job.folder.parent.parent for job in trainings)

    def check_objective(self, job: Job) -> str:
        """Check that `optimized_metric` will be measured; returns its name."""
        from hep2gan.cli.sweeps.objective import check_objective

        (training,) = _trainings([job])
        check_objective(training.config)
        return str(training.config["optimized_metric"])

    def objective(self, job: Job) -> float:
        """Read `optimized_metric` of a finished job."""
        from hep2gan.cli.sweeps.objective import objective_value

        (training,) = _trainings([job])
        return objective_value(training.run, training.config)

    def report(self, study: Path) -> str:
        """Write the command of a study's report."""
        return report_command([study])


def _trainings(jobs: Sequence[Job]) -> Sequence[TrainingJob]:
    """The jobs as what `TrainingSweep.compose` made them."""
    return cast(Sequence[TrainingJob], jobs)


def stop_signals() -> AbstractContextManager[object]:
    """Handle the signals that stop a sweep as those that stop a training."""
    from hep2gan.training.signals import SignalHandler

    return SignalHandler().listening()


def run_as_processes(
    jobs: Sequence[Job], slots: int | None, jobs_per_device: int
) -> Sequence[Outcome]:
    """Train the jobs on this machine.

    Args:
        jobs: The jobs of a sweep.
        slots: Jobs at once; None for as many as the GPUs hold, one on the CPU.
        jobs_per_device: Jobs that share a GPU.

    Returns:
        The outcomes, in the order of `jobs`.

    Raises:
        Hep2ganError: A job needs more GPUs than there are, or more machines than this one, or a
            setting is nothing that it could be.
    """
    from hep2gan.cli.launch import processes

    options = {"slots": slots, "jobs_per_device": jobs_per_device}
    where = training_slots(_trainings(jobs)[0].config["trainer"], options)
    with stop_signals():
        return processes.run_jobs(jobs, where, this_command())


def training_slots(trainer: Mapping[str, Any], options: Mapping[str, Any]) -> DeviceSlots:
    """Make slots for trainings on this machine.

    Args:
        trainer: The group `trainer` of the jobs' configuration.
        options: hydra.launcher of hydra/launcher=processes.

    Returns:
        The free slots.

    Raises:
        Hep2ganError: See `run_as_processes`.
    """
    from hep2gan.cli.launch.slots import device_slots

    settings = parse(ProcessSettings, options, "hydra.launcher")
    if trainer["num_nodes"] != 1:
        raise Hep2ganError(
            f"trainer.num_nodes is {trainer['num_nodes']}",
            "hydra/launcher=processes starts jobs on this machine",
            "use hydra/launcher=slurm",
        )
    if error := errors_of(TrainerSettings, trainer, "trainer").get("trainer.devices"):
        raise error
    return device_slots(
        _needs(trainer),
        settings.slots,
        settings.jobs_per_device,
        fewer="set trainer.devices lower or trainer.accelerator=cpu",
    )


def _needs(trainer: Mapping[str, Any]) -> Needs:
    shares = trainer["share_device"] and trainer["accelerator"] != "cpu"
    devices = 1 if shares else trainer["devices"]
    return Needs(devices, trainer["num_nodes"], trainer["accelerator"])


def run_through_slurm(jobs: Sequence[Job], options: Mapping[str, Any]) -> Sequence[Outcome]:
    """Train the jobs through Slurm; check them here where they only look.

    Args:
        jobs: The jobs of a sweep.
        options: hydra.launcher of hydra/launcher=slurm.

    Returns:
        The outcomes, in the order of `jobs`.

    Raises:
        Hep2ganError: A setting of the launcher is nothing that it could be, or a command of Slurm
            is missing or fails.
    """
    from hep2gan.cli.launch import slurm

    trainings = _trainings(jobs)
    with stop_signals():
        is_doctor = any(job.checks_only for job in jobs)
        checked = _check_locally(trainings) if is_doctor else []
        settings = parse(SlurmSettings, options, "hydra.launcher")
        if is_doctor:
            return _with_slurm_checked(checked)
        needs = _needs(trainings[0].config["trainer"])
        plain = settings.model_dump()
        return slurm.run_in_slurm(jobs, _on_a_node, plain, needs, this_command())


def _on_a_node(job: Job) -> Callable[[], object]:
    from hep2gan.cli.worker import run_config

    (training,) = _trainings([job])
    return partial(run_config, training.config)


def _with_slurm_checked(checked: list[Outcome]) -> list[Outcome]:
    """Add to jobs without a finding that Slurm does not answer; the findings of others stay."""
    from hep2gan.cli.launch import slurm

    try:
        slurm.require_slurm()
    except Hep2ganError as error:
        return [each if each.problem else Outcome(each.job, str(error)) for each in checked]
    return checked


def _check_locally(jobs: Sequence[TrainingJob]) -> list[Outcome]:
    """Run the preflight checks of jobs for other machines here, without those of GPUs."""
    from hep2gan.cli.launch.processes import run_jobs

    log.warning(
        "The checks run on this machine and leave out the GPUs of the nodes. On a node:"
        " srun hep2gan-train doctor=true"
    )
    local_jobs = []
    for job in jobs:
        trainer = job.config["trainer"]
        if trainer["accelerator"] == "gpu":
            trainer = trainer | {"accelerator": "auto"}
        local_jobs.append(job._replace(config=job.config | {"trainer": trainer}))
    return run_jobs(local_jobs, DeviceSlots([], each=1, count=1), this_command())


def study_options(sweeper: Any) -> "StudyOptions":
    """Read what hydra.sweeper says of a study.

    Args:
        sweeper: The plugin's sweeper after its setup.

    Returns:
        The options.

    Raises:
        Hep2ganError: A setting is nothing that it could be.
    """
    from hep2gan.cli.launch.optimize import StudyOptions

    values = {name: getattr(sweeper, name) for name in SweeperSettings.model_fields}
    return StudyOptions(**parse(SweeperSettings, values, "hydra.sweeper").model_dump())
