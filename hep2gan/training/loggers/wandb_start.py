"""Start a run at Weights & Biases, or take up the one that was started in a run's folder."""

import logging
import os
import re
import secrets
import signal
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.import_hooks import unregister_all_post_import_hooks

from hep2gan.config import LoggerSettings, TrainConfig
from hep2gan.errors import Hep2ganError
from hep2gan.io import parse_yaml
from hep2gan.training.loggers.course import Course
from hep2gan.training.loggers.identity import (
    MAX_NAME,
    method_of,
    read_identity,
    run_name,
    write_identity,
)
from hep2gan.training.loggers.wandb import RunWandbLogger

log = logging.getLogger(__name__)

AXES = {
    "epoch": ("train/*", "val/*", "lr/*", "gm/*", "speed/*", "health/*", "pictures/*"),
    "trainer/global_step": ("step/*",),
}
"""What the curves run over: metrics by their axis."""

_TO_FINISH = 600.0
"""Seconds that the upload may take at the end of a run; WANDB_FINISH_TIMEOUT says another."""

_MAX_TAG = 64


def start_wandb_run(
    config: TrainConfig,
    folder: Path,
    *,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
    monitor: str | None = None,
) -> RunWandbLogger:
    """Start a wandb run in `folder`, or resume the one that was started there.

    Online, the run of the previous start continues. Offline runs cannot be appended to: a new one
    gets the rows that metrics.csv keeps, the pictures and the alarms, so that it is complete by
    itself, and the folders of earlier ones move to wandb/superseded/. Inside `wandb agent` the
    agent's run is joined.

    Args:
        config: The configuration of the training.
        folder: The folder of the training.
        start: Batches of training that are done.
        provenance: Added to wandb's configuration.
        monitor: The validation metric that chooses the epoch; None chooses the last.

    Returns:
        The logger of the run.

    Raises:
        Hep2ganError: wandb cannot start a run.
    """
    mode = _mode(config.logger)
    former = read_identity(folder, "wandb")
    in_agent = bool(os.environ.get("WANDB_SWEEP_ID"))
    resumes = in_agent or (mode == "online" and former.get("mode") == "online")
    run_id = former["id"] if resumes and "id" in former else secrets.token_hex(8)
    course = Course.read(folder, start)
    _supersede(folder / "wandb")
    loggers: list[RunWandbLogger] = []
    stop = _stop_for(loggers)
    run = _init(config, folder, mode, None if in_agent else run_id, provenance, stop)
    logger = RunWandbLogger(run, folder, config.logger, monitor)
    loggers.append(logger)
    try:
        kept = {"weights": former["weights"]} if run.resumed and "weights" in former else {}
        write_identity(folder, "wandb", {"id": run.id, "mode": mode} | kept)
        for axis, patterns in AXES.items():
            run.define_metric(axis)
            for pattern in patterns:
                run.define_metric(pattern, step_metric=axis)
        if provenance and provenance.get("data"):
            logger.log_data(provenance["data"])
        # A resumed run has its rows, but its chosen epoch must not be lost.
        logger.note(course) if run.resumed else course.replay(logger)
    except BaseException:
        run.finish(exit_code=1)
        raise
    return logger


def _stop_for(loggers: list[RunWandbLogger]) -> Callable[[], None]:
    """What wandb calls when somebody, or `early_terminate`, stops the run on the server.

    A function: wandb copies its settings, and a copied object would know of no logger.
    """

    def stop() -> None:
        for logger in loggers:
            logger.stopped_by_server = True
        log.info("The run was stopped on wandb's server.")
        os.kill(os.getpid(), signal.SIGINT)

    return stop


def _mode(settings: LoggerSettings) -> str:
    """The requested mode, or online where there is a key."""
    return settings.mode or os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def require_wandb(settings: LoggerSettings) -> str:
    """Check that wandb has the key and the server that its mode needs, and describe the mode.

    Args:
        settings: The group `logger` of the configuration.

    Returns:
        The description, for the report of the preflight checks.

    Raises:
        Hep2ganError: The mode is online, and its key or server is missing.
    """
    mode, fix = _mode(settings), "set logger.mode=offline, and `wandb sync` later"
    if mode != "online" or os.environ.get("WANDB_SWEEP_ID"):
        return mode
    if not _has_key():
        raise Hep2ganError("logger.mode is online", "that needs a key", f"`wandb login`, or {fix}")
    if not _is_key(os.environ.get("WANDB_API_KEY", "")):
        raise Hep2ganError(
            "the key in WANDB_API_KEY is malformed",
            "a key has 40 letters, digits and underscores or more",
            f"copy it whole, or unset it and `wandb login`, or {fix}",
        )
    server = str(wandb.setup().settings.base_url)
    try:
        urllib.request.urlopen(server, timeout=5.0).close()
    except urllib.error.HTTPError:
        pass  # It answers.
    except (OSError, ValueError) as error:
        raise Hep2ganError(
            f"wandb's server {server} cannot be reached ({error})", "logger.mode is online", fix
        ) from error
    return f"online at {server}"


def _has_key() -> bool:
    return bool(os.environ.get("WANDB_API_KEY")) or wandb.login(prompt=False)


def _is_key(text: str) -> bool:
    """Whether it looks like a key, plain, with a server's prefix or as a token; '' is none."""
    token = r"[\w-]+\.[\w-]+\.[\w-]+"
    return not text or re.fullmatch(rf"([^-]*-)?[\w-]{{40,}}|{token}", text.strip()) is not None


def _init(
    config: TrainConfig,
    folder: Path,
    mode: str,
    run_id: str | None,
    provenance: Mapping[str, Any] | None,
    stop: Callable[[], None],
) -> Any:
    settings = config.logger
    identity: dict[str, Any] = {
        "id": run_id,
        "project": settings.project,
        "entity": settings.entity,
    }
    # Its own default is to wait without an end, as for a network that is gone.
    limit = float(os.environ.get("WANDB_FINISH_TIMEOUT") or _TO_FINISH)
    shown = config.to_plain() | ({"provenance": dict(provenance)} if provenance else {})
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(
            # An agent has chosen these already, and wandb warns of other choices.
            **(identity if run_id else {}),
            name=run_name(config, _swept()),
            group=config.study[:MAX_NAME],
            job_type=method_of(config)[:MAX_NAME],
            tags=_tags(config),
            config=shown,
            # Absolute: wandb's own process may have begun in another working directory.
            dir=str(folder.resolve()),
            mode=mode,  # type: ignore[arg-type]
            resume="allow" if mode == "online" else None,
            # wandb's default would return a run that an earlier job left open.
            reinit="create_new",
            settings=wandb.Settings(finish_timeout=limit, finish_timeout_raises=True, stop_fn=stop),
        )
    except (wandb.Error, OSError) as error:
        raise Hep2ganError(
            f"wandb cannot begin a run ({error})",
            "",
            "check the key (wandb login) and the network, or set logger.mode=offline",
        ) from error
    # wandb notes what is imported after its start; where its process died, such imports would fail.
    unregister_all_post_import_hooks()
    return run


def _swept() -> dict[str, Any]:
    """What wandb's agent has chosen for this run; empty outside of a sweep."""
    path = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not path or not Path(path).is_file():
        return {}
    with suppress(OSError, Hep2ganError, ValueError):
        found = parse_yaml(Path(path).read_text(encoding="utf-8"))
        return {k: v["value"] for k, v in found.items() if isinstance(v, dict) and "value" in v}
    return {}


def _tags(config: TrainConfig) -> list[str]:
    data = config.source
    facts = (data.name, config.split.kind, f"{data.size}px")
    tags = [str(tag)[:_MAX_TAG] for tag in (*(config.logger.tags or ()), *facts)]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _supersede(folder: Path) -> None:
    """Move offline runs of earlier starts aside, so that one folder a job is left to sync."""
    for path in sorted(folder.glob("offline-run-*")):
        (folder / "superseded").mkdir(exist_ok=True)
        path.rename(folder / "superseded" / path.name)
