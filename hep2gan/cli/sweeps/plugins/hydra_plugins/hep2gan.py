"""The launchers as Hydra plugins, which it takes only from the namespace `hydra_plugins`."""

import logging
from collections.abc import Sequence
from inspect import signature
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from hep2gan.cli.command_line import redact_passwords
from hep2gan.cli.launch.hydra import launch_jobs, missing_plugin
from hep2gan.errors import Hep2ganError, errors_from, raise_all

try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
except ModuleNotFoundError:
    SlurmLauncher = missing_plugin(Launcher, "hydra/launcher=slurm", 'pip install "hep2gan[slurm]"')
try:
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    HAS_OPTUNA = True
except ModuleNotFoundError:
    OptunaSweeper = missing_plugin(Sweeper, "hydra/sweeper=optuna", 'pip install "hep2gan[optuna]"')
    HAS_OPTUNA = False

log = logging.getLogger(__name__)

_KEYS = signature(OptunaSweeper.__init__).parameters
# Hydra 1.3 replaces the plugin's own node without being asked; 1.4 warns.
_REPLACE: dict[str, Any] = (
    {"replace": True} if "replace" in signature(ConfigStore.store).parameters else {}
)


class ProcessLauncher(Launcher):
    """hydra/launcher=processes: jobs of a sweep side by side on this machine.

    Args:
        slots: Jobs at once; None for as many as the GPUs hold, one on the CPU.
        jobs_per_device: Jobs that share a GPU.
    """

    def __init__(self, slots: int | None = None, jobs_per_device: int = 1) -> None:
        self._slots, self._jobs_per_device = slots, jobs_per_device

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Called by Hydra. The task function is not: jobs start from composed configurations."""
        self._loader, self._config = hydra_context.config_loader, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and return their outcomes.

        Args:
            job_overrides: The overrides of each job.
            initial_job_idx: Number of the first job.

        Returns:
            One JobReturn for each job.

        Raises:
            Hep2ganError: The jobs cannot be composed, or need devices that this machine lacks.
        """
        from hep2gan.cli.sweeps.trainings import TrainingSweep, run_as_processes

        return launch_jobs(
            (self._loader, self._config),
            job_overrides,
            initial_job_idx,
            TrainingSweep(),
            lambda jobs: run_as_processes(jobs, self._slots, self._jobs_per_device),
        )


class SlurmSweep(SlurmLauncher):  # type: ignore[misc]
    """hydra/launcher=slurm: jobs of a sweep through submitit, requeued by Slurm as needed."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs as one array, wait for them and return their outcomes.

        Args:
            job_overrides: The overrides of each job.
            initial_job_idx: Number of the first job.

        Returns:
            One JobReturn for each job.

        Raises:
            Hep2ganError: The jobs cannot be composed, or Slurm cannot be used.
        """
        from hep2gan.cli.sweeps.trainings import TrainingSweep, run_through_slurm

        return launch_jobs(
            (self.hydra_context.config_loader, self.config),
            job_overrides,
            initial_job_idx,
            TrainingSweep(),
            lambda jobs: run_through_slurm(jobs, self.params),
        )


class OptunaSweep(OptunaSweeper):  # type: ignore[misc]
    """hydra/sweeper=optuna: the plugin's sweeper, or a clear error where it is not installed.

    It varies loss weights and learning rates and optimizes `optimized_metric` on the validation
    part. The plugin has no pruning: a trial is a process that runs to its end.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Optimize. A password in the storage's address is not printed.

        Args:
            arguments: The overrides of the command line.

        Returns:
            None; the results are written into the study's folder.

        Raises:
            Hep2ganError: The storage cannot be used, or the study cannot start or failed.
        """
        from sqlalchemy.exc import SQLAlchemyError

        from hep2gan.cli.launch.optimize import StudySweep
        from hep2gan.cli.sweeps.trainings import TrainingSweep, study_options

        study = StudySweep(self.sweeper, arguments, TrainingSweep(), study_options(self.sweeper))
        if self.sweeper.config.get("doctor"):
            return self._preflight(study.example())
        address = self.sweeper.storage
        log.info(
            "Study %s in %s",
            self.sweeper.study_name,
            redact_passwords(str(address or study.folder)),
        )
        try:
            return study.run()
        except (SQLAlchemyError, ImportError) as error:
            raise Hep2ganError(
                f"hydra.sweeper.storage cannot be used ({redact_passwords(str(error))})",
                "",
                "leave it out, which keeps optuna.db beside the study's runs, or install what the"
                " database needs",
            ) from None

    def _preflight(self, overrides: list[str]) -> None:
        """doctor=true: check once, for a run like those of all trials; optimize nothing."""
        from hep2gan.cli.sweeps.compose import compose_jobs
        from hep2gan.cli.sweeps.objective import check_objective

        context, config = self.sweeper.hydra_context, self.sweeper.config
        (job,) = compose_jobs(context.config_loader, config, [overrides], 0)

        def launch() -> Any:
            # The value of a failed job raises its error.
            return self.sweeper.launcher.launch([overrides], initial_job_idx=0)[0].return_value

        found = [*errors_from(check_objective, job.config), *errors_from(launch)]
        raise_all(found, "problems prevent the start of the study")


# Not a file in conf/: Hydra would hold one of this name to the plugin's schema, and refuse it.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="optuna",
    node={
        "defaults": [{"sampler": "tpe"}] if HAS_OPTUNA else [],
        "_target_": "hydra_plugins.hep2gan.OptunaSweep",
        "direction": "maximize",
        "storage": None,  # optuna.db beside the study's runs
        "study_name": "${study}",
        "n_trials": 20,
        "n_jobs": 1,
        "max_failure_rate": 0.5,  # of the whole study, when it has ended
        # The plugin for Hydra 1.4 has no such key.
        **({"search_space": None} if "search_space" in _KEYS else {}),
        "custom_search_space": None,
        "params": {
            "loss.alpha": "tag(log, interval(0.05, 5))",
            "loss.beta": "tag(log, interval(1, 100))",
            "loss.gaussian_mixture.gamma": "tag(log, interval(0.001, 1))",
            "optimizer.generator.lr": "tag(log, interval(1e-05, 0.01))",
            "optimizer.discriminator.lr": "tag(log, interval(1e-05, 0.01))",
            "optimizer.classifier.lr": "tag(log, interval(1e-05, 0.01))",
        },
    },
    provider="hep2gan",
    **_REPLACE,
)
