"""Where curves go beside metrics.csv: Weights & Biases, TensorBoard."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions


def build_logger(
    config: Mapping[str, Any],
    run: Path,
    *,
    rank: int = 0,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> Logger | None:
    """The logger that `logger=` names; None for csv alone, and on all ranks but the first.

    start: batches of training that are done, 0 for a new run. provenance: what `provenance` gives,
    for the dashboard's configuration. wandb is offline unless a key is set (WANDB_API_KEY or `wandb
    login`) or mode says otherwise. Raises Hep2ganError for another kind and when it cannot begin.
    """
    kind = config["logger"]["kind"]
    _require_kind(kind)
    if rank != 0 or kind == "csv":
        return None
    if kind == "tensorboard":
        return _tensorboard(run)
    from hep2gan.training.loggers.wandb import start_wandb_run

    return start_wandb_run(config, run, start=start, provenance=provenance)


LOGGER_KINDS = ("csv", "wandb", "tensorboard")


def require_logger(settings: Mapping[str, Any]) -> str:
    """Say where curves will go; raises Hep2ganError where they cannot. Begins no run."""
    kind = settings["kind"]
    _require_kind(kind)
    if kind == "csv":
        return "metrics.csv"
    if kind == "tensorboard":
        if find_spec("tensorboard") is None:
            raise _no_tensorboard()
        return "metrics.csv and TensorBoard"
    from hep2gan.training.loggers.wandb import require_wandb

    return f"metrics.csv and wandb, {require_wandb(settings)}"


def _require_kind(kind: str) -> None:
    if kind not in LOGGER_KINDS:
        raise Hep2ganError(f"logger.kind is {kind!r}", f"choose from {', '.join(LOGGER_KINDS)}")


def _no_tensorboard() -> Hep2ganError:
    return Hep2ganError(
        "logger=tensorboard, but TensorBoard is not installed",
        "",
        'pip install "hep2gan[tensorboard]"',
    )


def _tensorboard(run: Path) -> Logger:
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(run, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise _no_tensorboard() from error


def log_results(
    logger: Logger | None,
    metrics: Mapping[str, float],
    figures: Mapping[str, Path],
    predictions: Predictions | None = None,
) -> None:
    """Send the test's metrics and figures (PNG files by name) to the dashboard.

    predictions: those of the test, for wandb's confusion matrix, ROC curves and worst cells.
    """
    if logger is None:
        return
    logger.log_metrics(dict(metrics))
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    if isinstance(logger, WandbLogger):
        _results_to_wandb(logger, metrics, figures, predictions)
    elif isinstance(logger, TensorBoardLogger):
        import numpy as np
        from PIL import Image

        for name, path in figures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            logger.experiment.add_image(f"figure/{name}", pixels, dataformats="HWC")


def _results_to_wandb(
    logger: Any,
    metrics: Mapping[str, float],
    figures: Mapping[str, Path],
    predictions: Predictions | None,
) -> None:
    if logger.lost:
        return
    import wandb

    from hep2gan.training.loggers.wandb import result_panels

    with logger.surviving():
        shown = {f"figure/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        logger.experiment.log(
            shown | (result_panels(predictions) if predictions is not None else {})
        )
        logger.experiment.summary.update(dict(metrics))


def finish_run(logger: Logger | None, exit_code: int) -> None:
    """Close the dashboard's run: 0 finished, 143 stopped by SIGTERM, anything else failed."""
    from lightning.pytorch.loggers import WandbLogger

    if isinstance(logger, WandbLogger):
        from hep2gan.training.loggers.wandb import RunWandbLogger, finish_wandb_run

        assert isinstance(logger, RunWandbLogger)
        finish_wandb_run(logger, int(exit_code))


@contextmanager
def logger_session(logger: Logger | None) -> Iterator[None]:
    """Close the dashboard's run when the block ends, with the exit code of how it ended."""
    try:
        yield
    except BaseException as error:
        finish_run(logger, exit_code_of(error))
        raise
    finish_run(logger, 0)


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
