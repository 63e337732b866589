"""Where curves go beside metrics.csv: Weights & Biases, TensorBoard."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from hep2gan.config import LoggerSettings, TrainConfig
from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions


class Dashboard(Protocol):
    """A Lightning logger that also takes the results of the test, and knows how its run ended."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log one row.

        Args:
            metrics: Values by name.
            step: Number of the batch over all epochs; None for results of the whole run.
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
) -> list[Dashboard]:
    """Build the loggers that `logger=` names; `logger=[wandb,tensorboard]` names two.

    wandb is offline unless a key is set (WANDB_API_KEY or `wandb login`) or mode says otherwise.

    Args:
        config: The configuration of a run.
        folder: The run's folder.
        rank: Rank of this process; all but rank 0 get no logger.
        start: Batches of training that are done, 0 for a new run.
        provenance: The result of `provenance`, for the dashboard's configuration.

    Returns:
        The loggers; none for csv alone.

    Raises:
        Hep2ganError: TensorBoard is not installed, or a run at wandb cannot begin.
    """
    loggers: list[Dashboard] = []
    if rank == 0 and config.logger.tensorboard:
        _require_tensorboard()
        loggers.append(RunTensorBoardLogger(folder))
    # Last: nothing that could fail comes after its run has begun.
    if rank == 0 and config.logger.wandb:
        from hep2gan.training.loggers.wandb import start_wandb_run

        loggers.append(start_wandb_run(config, folder, start=start, provenance=provenance))
    return loggers


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
        _require_tensorboard()
        places.append("TensorBoard")
    if settings.wandb:
        from hep2gan.training.loggers.wandb import require_wandb

        places.append(f"wandb, {require_wandb(settings)}")
    return " and ".join(places)


def _require_tensorboard() -> None:
    if find_spec("tensorboard") is None:
        raise Hep2ganError(
            "logger=tensorboard, but TensorBoard is not installed",
            "",
            'pip install "hep2gan[tensorboard]"',
        )


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


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger in the folder `tensorboard` of a run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="tensorboard", version="")

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test.

        Args:
            metrics: The flat metrics.
            figures: PNG files by name.
            predictions: Not used.
        """
        self.log_metrics(dict(metrics))
        for name, path in figures.items():
            self.experiment.add_image(
                f"figure/{name}", np.asarray(Image.open(path).convert("RGB")), dataformats="HWC"
            )

    def finish(self, exit_code: int) -> None:
        """Write what is still buffered; TensorBoard keeps no exit code.

        Args:
            exit_code: 0 for a finished run.
        """
        self.finalize("success" if exit_code == 0 else "failed")
