"""Where curves go beside metrics.csv: Weights & Biases, TensorBoard."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions

LOGGER_KINDS = ("csv", "wandb", "tensorboard")


class Dashboard(Protocol):
    """A Lightning logger that also takes the results of the test, and knows how its run ended."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log one row."""

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Send the test's metrics, figures (PNG files by name) and what predictions show."""

    def finish(self, exit_code: int) -> None:
        """Close the run: 0 finished, 143 stopped by SIGTERM, anything else failed."""


def build_logger(
    config: Mapping[str, Any],
    folder: Path,
    *,
    rank: int = 0,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> Dashboard | None:
    """Build the logger that `logger=` names.

    wandb is offline unless a key is set (WANDB_API_KEY or `wandb login`) or mode says otherwise.

    Args:
        config: The configuration of a run.
        folder: The run's folder.
        rank: This process's; all but rank 0 get no logger.
        start: Batches of training that are done, 0 for a new run.
        provenance: What `provenance` returns, for the dashboard's configuration.

    Returns:
        The logger; None for csv alone.

    Raises:
        Hep2ganError: The kind is unknown, or its run cannot begin.
    """
    kind = _kind(config["logger"])
    if rank != 0 or kind == "csv":
        return None
    if kind == "tensorboard":
        _require_tensorboard()
        from hep2gan.training.loggers.tensorboard import RunTensorBoardLogger

        return RunTensorBoardLogger(folder)
    from hep2gan.training.loggers.wandb import start_wandb_run

    return start_wandb_run(config, folder, start=start, provenance=provenance)


def require_logger(settings: Mapping[str, Any]) -> str:
    """Describe where curves will go; raises Hep2ganError where they cannot. Begins no run."""
    kind = _kind(settings)
    if kind == "csv":
        return "metrics.csv"
    if kind == "tensorboard":
        _require_tensorboard()
        return "metrics.csv and TensorBoard"
    from hep2gan.training.loggers.wandb import require_wandb

    return f"metrics.csv and wandb, {require_wandb(settings)}"


def _kind(settings: Mapping[str, Any]) -> str:
    kind = str(settings["kind"])
    if kind not in LOGGER_KINDS:
        raise Hep2ganError(f"logger.kind is {kind!r}", f"choose from {', '.join(LOGGER_KINDS)}")
    return kind


def _require_tensorboard() -> None:
    if find_spec("tensorboard") is None:
        fact = "logger=tensorboard, but TensorBoard is not installed"
        raise Hep2ganError(fact, "", 'pip install "hep2gan[tensorboard]"')


@contextmanager
def logger_session(logger: Dashboard | None) -> Iterator[None]:
    """Finish the dashboard's run when the block ends, with the exit code of how it ended."""
    exit_code = 0
    try:
        yield
    except BaseException as error:
        exit_code = exit_code_of(error)
        raise
    finally:
        if logger:
            logger.finish(exit_code)


def exit_code_of(error: BaseException) -> int:
    """What a process exits with that `error` ends: 143 for SIGTERM, 130 for Ctrl-C, else 1."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    if isinstance(error, SIGTERMException):
        return 128 + signal.SIGTERM
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit):
        code = error.code
        return code if isinstance(code, int) else int(code is not None)
    return 1
