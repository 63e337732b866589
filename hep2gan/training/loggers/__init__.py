"""Where curves go beside metrics.csv: Weights & Biases, MLflow, TensorBoard."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from hep2gan.config import LoggerSettings, TrainConfig
from hep2gan.runs.predictions import Predictions
from hep2gan.training.loggers.course import Course, Picture
from hep2gan.training.loggers.identity import holds_run, read_identity
from hep2gan.training.loggers.tensorboard import RunTensorBoardLogger, require_tensorboard
from hep2gan.training.loggers.weights import LoggedWeights


class Dashboard(Protocol):
    """A Lightning logger that also takes what happens to a run, and what comes of it."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log one row.

        Args:
            metrics: Values by name.
            step: Number of the batch over all epochs; None for results of the whole run.
        """

    def log_picture(self, picture: Picture) -> None:
        """Log the picture of an epoch.

        Args:
            picture: A picture of a few cells.
        """

    def log_alarm(self, kind: str, text: str) -> None:
        """Log an alarm, the first of its kind alone.

        Args:
            kind: What is wrong, as a word.
            text: A sentence.
        """

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Send the results of the test.

        Args:
            metrics: The flat metrics.
            figures: PNG files by name.
            predictions: Predictions for the test part.
        """

    def log_weights(self, weights: LoggedWeights) -> None:
        """Send the weights of an epoch.

        Args:
            weights: The weights, in a folder that is gone afterwards.
        """

    def finish(self, exit_code: int) -> None:
        """Close the run.

        Args:
            exit_code: 0 finished, 143 stopped by SIGTERM, anything else failed.
        """


def build_loggers(
    config: TrainConfig,
    folder: Path,
    *,
    rank: int = 0,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
    monitor: str | None = None,
    late: bool = False,
) -> list[Dashboard]:
    """Build the loggers that `logger=` names; `logger=[wandb,tensorboard]` names two.

    wandb is offline unless a key is set (WANDB_API_KEY or `wandb login`) or mode says otherwise.

    Args:
        config: The configuration of a run.
        folder: The run's folder.
        rank: Rank of this process; all but rank 0 get no logger.
        start: Batches of training that are done, 0 for a new run.
        provenance: The result of `provenance`, for the dashboard's configuration.
        monitor: The validation metric that chooses the epoch; None chooses the last.
        late: The run is finished: only the loggers that do not hold it yet, which get its course.

    Returns:
        The loggers; none for csv alone.

    Raises:
        Hep2ganError: A package is not installed, or a run on a dashboard cannot begin.
    """
    if rank != 0:
        return []
    names = missing_loggers(config.logger, folder) if late else logger_names(config.logger)
    loggers: list[Dashboard] = []
    if "tensorboard" in names:
        require_tensorboard()
        loggers.append(RunTensorBoardLogger(folder))
        if late:
            Course.read(folder, start).replay(loggers[-1])
    if "mlflow" in names:
        from hep2gan.training.loggers.mlflow_start import start_mlflow_run

        loggers.append(
            start_mlflow_run(config, folder, start=start, provenance=provenance, monitor=monitor)
        )
    # Last: nothing that could fail comes after its run has begun.
    if "wandb" in names:
        from hep2gan.training.loggers.wandb_start import start_wandb_run

        try:
            loggers.append(
                start_wandb_run(config, folder, start=start, provenance=provenance, monitor=monitor)
            )
        except BaseException:
            for logger in loggers:
                logger.finish(1)
            raise
    return loggers


def logger_names(settings: LoggerSettings) -> list[str]:
    """Name the loggers that a configuration asks for.

    Args:
        settings: The group `logger` of the configuration.

    Returns:
        Some of tensorboard, mlflow and wandb.
    """
    return [name for name in ("tensorboard", "mlflow", "wandb") if getattr(settings, name)]


def missing_loggers(settings: LoggerSettings, folder: Path) -> list[str]:
    """Name the loggers that a configuration asks for and that do not hold a finished run.

    Args:
        settings: The group `logger` of the configuration.
        folder: The folder of a finished run.

    Returns:
        Some of tensorboard, mlflow and wandb.
    """
    return [name for name in logger_names(settings) if not _holds_run(settings, folder, name)]


def _holds_run(settings: LoggerSettings, folder: Path, name: str) -> bool:
    if name != "mlflow":
        return holds_run(folder, name)
    from hep2gan.training.loggers.mlflow_start import redact_address, tracking_uri

    # It may be another store than the one that is asked for now.
    store = redact_address(tracking_uri(settings, folder))
    return holds_run(folder, name) and read_identity(folder, name).get("store") == store


def require_logger(settings: LoggerSettings) -> str:
    """Check that the loggers can start, without starting them, and describe where curves will go.

    Args:
        settings: The group `logger` of the configuration.

    Returns:
        The description, for the report of the preflight checks.

    Raises:
        Hep2ganError: A package, key or server is missing.
    """
    places = ["metrics.csv"]
    if settings.tensorboard:
        require_tensorboard()
        places.append("TensorBoard")
    if settings.mlflow:
        from hep2gan.training.loggers.mlflow_start import require_mlflow

        places.append(f"MLflow, {require_mlflow(settings)}")
    if settings.wandb:
        from hep2gan.training.loggers.wandb_start import require_wandb

        places.append(f"wandb, {require_wandb(settings)}")
    return " and ".join(places)


@contextmanager
def logger_session(loggers: Sequence[Dashboard]) -> Iterator[None]:
    """Finish each dashboard's run when the block ends, with the exit code of how it ended.

    Args:
        loggers: The loggers; none for csv alone.
    """
    exit_code = 0
    try:
        yield
    except BaseException as error:
        exit_code = exit_code_of(error)
        raise
    finally:
        # A stack: where one cannot finish, the others do.
        with ExitStack() as each:
            for logger in loggers:
                each.callback(logger.finish, exit_code)


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a process that an exception ends.

    Args:
        error: The exception.

    Returns:
        130 for Ctrl-C, the code of SystemExit (143 after SIGTERM), else 1.
    """
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 1
