"""The launchers as Hydra plugins, which it takes only from the namespace `hydra_plugins`."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from hep2gan.cli.launch.hydra import (
    compose_jobs,
    job_returns,
    missing_plugin,
    refuse_ranks,
    wants_objective,
)
from hep2gan.errors import Hep2ganError

try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
except ModuleNotFoundError:
    SlurmLauncher = missing_plugin(Launcher, "hydra/launcher=slurm", "slurm")
try:
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    HAS_OPTUNA = True
except ModuleNotFoundError:
    OptunaSweeper = missing_plugin(Sweeper, "hydra/sweeper=optuna", "optuna")
    HAS_OPTUNA = False


class ProcessLauncher(Launcher):
    """hydra/launcher=processes: jobs of a sweep side by side on this machine.

    Args:
        slots: Jobs at once; None for as many as the GPUs hold, one on the CPU.
    """

    def __init__(self, slots: int | None = None) -> None:
        self._slots = slots

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
        from hep2gan.cli.launch.sweep import check_splits, device_slots, run_jobs
        from hep2gan.training.signals import SignalHandler

        refuse_ranks()
        jobs = compose_jobs(self._loader, self._config, job_overrides, initial_job_idx)
        check_splits(jobs)
        with SignalHandler().listening():
            outcomes = run_jobs(jobs, device_slots(jobs[0].config["trainer"], self._slots))
        return job_returns(outcomes, wants_objective(self._config))


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
        from hep2gan.cli.launch.slurm import run_in_slurm
        from hep2gan.cli.launch.sweep import check_splits

        refuse_ranks()
        jobs = compose_jobs(
            self.hydra_context.config_loader, self.config, job_overrides, initial_job_idx
        )
        check_splits(jobs)
        return job_returns(run_in_slurm(self, jobs), wants_objective(self.config))


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
            What the plugin's sweeper returns.

        Raises:
            Hep2ganError: The storage cannot be used.
        """
        if self.sweeper.config.get("doctor"):
            return self._preflight(arguments)
        from sqlalchemy.exc import SQLAlchemyError

        # The plugin prints the whole address.
        logging.getLogger("hydra_plugins.hydra_optuna_sweeper._impl").addFilter(RedactPasswords())
        try:
            return super().sweep(arguments)
        except (SQLAlchemyError, ImportError) as error:
            raise Hep2ganError(
                f"hydra.sweeper.storage cannot be used ({redact_passwords(str(error))})",
                "",
                "name a file, hydra.sweeper.storage=sqlite:///runs/tuned.db, or install what the"
                " database needs",
            ) from None

    def _preflight(self, arguments: list[str]) -> None:
        """doctor=true: check once, for the run that all trials vary; optimize nothing."""
        fixed = [
            override.input_line
            for override in OverridesParser.create().parse_overrides(arguments)
            if not override.is_sweep_override()
        ]
        for job in self.sweeper.launcher.launch([fixed], initial_job_idx=0):
            # The value of a failed job raises its error.
            _ = job.return_value


# Not a file in conf/: Hydra would hold one of this name to the plugin's schema, and refuse it.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="optuna",
    node={
        "defaults": [{"sampler": "tpe"}] if HAS_OPTUNA else [],
        "_target_": "hydra_plugins.hep2gan.OptunaSweep",
        "direction": "maximize",
        "storage": None,
        "study_name": "${study}",
        "n_trials": 20,
        "n_jobs": 1,
        "max_failure_rate": 0.5,
        "search_space": None,
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
)

_IN_ADDRESS = re.compile(r"(/[^\s:/@]*):[^\s/@]+@")


def redact_passwords(text: str) -> str:
    """Replace the password in each address of a text by ***.

    Args:
        text: Any text, such as a log message.

    Returns:
        The text without passwords.

    >>> redact_passwords("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return _IN_ADDRESS.sub(r"\1:***@", text)


class RedactPasswords(logging.Filter):
    """Redacts the passwords in every message of a logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging."""
        record.msg, record.args = redact_passwords(record.getMessage()), ()
        return True
