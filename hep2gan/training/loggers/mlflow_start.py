"""Start a run at MLflow, in a file of the run's folder or on a server."""

import logging
import os
import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hep2gan.config import LoggerSettings, TrainConfig
from hep2gan.errors import Hep2ganError
from hep2gan.io import file_lock
from hep2gan.training.loggers.course import Course
from hep2gan.training.loggers.identity import read_identity, write_identity
from hep2gan.training.loggers.mlflow import RunMLflowLogger

STORE = "mlflow.db"
_INSTALL = 'pip install "hep2gan[mlflow]"'


def start_mlflow_run(
    config: TrainConfig,
    folder: Path,
    *,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
    monitor: str | None = None,
) -> RunMLflowLogger:
    """Start a run at MLflow; one of an earlier start is deleted once the new one holds all epochs.

    A run cannot forget the rows of batches that are trained again, so that each start has its own,
    filled with what metrics.csv keeps. MLflow keeps deleted runs until `mlflow gc`.

    Args:
        config: The configuration of the training.
        folder: The folder of the training.
        start: Batches of training that are done.
        provenance: Its provenance: parameters and the data.
        monitor: The validation metric that chooses the epoch; None chooses the last.

    Returns:
        The logger of the run.

    Raises:
        Hep2ganError: MLflow is not installed, or cannot start a run.
    """
    require_mlflow(config.logger)
    _quieten()
    uri = tracking_uri(config.logger, folder)
    former = read_identity(folder, "mlflow")
    course = Course.read(folder, start)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(uri), _environment_kept():
            logger = RunMLflowLogger(config, folder, uri, monitor)
            run_id = logger.run_id
        # Before anything else: a killed start's run is deleted by the next.
        store = redact_address(uri)
        write_identity(folder, "mlflow", {"id": run_id, "store": store})
        if former.get("store") == store and "id" in former:
            # Somebody may have deleted it, or the store.
            with suppress(Exception):
                logger.experiment.delete_run(former["id"])
        logger.log_parameters(config, provenance)
    except Exception as error:
        raise Hep2ganError(
            f"MLflow cannot begin a run at {redact_address(uri)} ({error})",
            "",
            "check logger.tracking_uri and the server, or leave both out:"
            f" a run then has its own {STORE}",
        ) from error
    if provenance and provenance.get("data"):
        logger.log_data(provenance["data"])
    logger.replay(course)
    return logger


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what MLflow writes there: the next run of this process may have another store."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _one_at_a_time(uri: str) -> AbstractContextManager[object]:
    """Let the jobs of a sweep make the tables of a store in a file one after the other."""
    scheme, _, path = uri.partition(":///")
    if scheme != "sqlite":
        return nullcontext()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return file_lock(Path(path))


def require_mlflow(settings: LoggerSettings) -> str:
    """Check that MLflow is installed and its server answers, and say where runs will go.

    Args:
        settings: The group `logger` of the configuration.

    Returns:
        The place, for the report of the preflight checks.

    Raises:
        Hep2ganError: The package or the server is missing.
    """
    _require_package()
    if re.search(r"://[^/@\s]*:[^/@\s]*@", settings.tracking_uri or ""):
        raise Hep2ganError(
            f"logger.tracking_uri is {redact_address(str(settings.tracking_uri))}, with a password",
            "what a configuration holds is written into the run's folder",
            "leave it out, and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD",
        )
    uri = tracking_uri(settings, None)
    if uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(uri, timeout=5.0).close()
        except urllib.error.HTTPError:
            pass  # It answers.
        except (OSError, ValueError) as error:
            raise Hep2ganError(
                f"MLflow's server {redact_address(uri)} cannot be reached ({error})",
                "logger.tracking_uri or MLFLOW_TRACKING_URI names it",
                f"start it, or leave both out: a run then has its own {STORE}",
            ) from error
    return redact_address(uri)


def tracking_uri(settings: LoggerSettings, folder: Path | None) -> str:
    """Name the store that a run is logged to.

    Args:
        settings: The group `logger` of the configuration.
        folder: The run's folder; None for a description alone.

    Returns:
        logger.tracking_uri, else MLFLOW_TRACKING_URI, else the run's own file.
    """
    given = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given
    # MLflow takes file stores out of service in favour of databases, its default since 3.7.
    return f"sqlite:///{folder.resolve() / STORE}" if folder else f"in {STORE} of the run"


def redact_address(uri: str) -> str:
    """Replace the user and password of an address.

    Args:
        uri: An address.

    Returns:
        The address without them.

    >>> redact_address("http://me:secret@host:5000")
    'http://***@host:5000'
    """
    return re.sub(r"://[^/@\s]*@", "://***@", uri)


def _require_package() -> None:
    missing = [name for name in ("mlflow", "sqlalchemy", "alembic") if find_spec(name) is None]
    if missing:
        raise Hep2ganError(
            f"logger=mlflow, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not"
            " installed",
            "",
            _INSTALL,
        )


def _quieten() -> None:
    """No word of a new database or experiment, and nothing sent to MLflow's makers."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
