"""Weights & Biases: one run a training, resumed with it, and the test's results as panels."""

import json
import logging
import math
import os
import re
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.sdk.lib.import_hooks import unregister_all_post_import_hooks

from hep2gan.config import LoggerSettings, TrainConfig
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write, read_json
from hep2gan.reports.figures.cells import confident_errors, lowest_dice
from hep2gan.reports.figures.overlay import overlay_cell
from hep2gan.reports.figures.roc import roc_curves
from hep2gan.runs.metrics_csv import logged_before
from hep2gan.runs.predictions import Predictions

log = logging.getLogger(__name__)

AXES = {
    "epoch": ("train/*", "val/*", "lr/*", "gm/*", "speed/*", "health/*"),
    "trainer/global_step": ("step/*",),
}
"""What the curves run over: metrics by their axis."""

STOPPED = 143
"""Exit code of a job that SIGTERM stopped: 128 + 15."""

_TO_FINISH = 600.0
"""Seconds that the upload may take at the end of a run; WANDB_FINISH_TIMEOUT says another."""

_MAX_TAG, _MAX_NAME = 64, 128
_NOT_LOSSES = ("p_real", "p_fake")


class RunWandbLogger(WandbLogger):
    """Lightning's logger on a run of its own, which keeps the best values in the run's summary.

    The summary holds the last value of a metric under its own name, where sweeps and tables look
    for it, and the best under best/<name>: the highest of val/*, the lowest of the losses train/*.
    wandb's own `define_metric(summary="max")` drops the last value, NaN for a maximum, and starts
    anew when a run is resumed.

    Args:
        run: The wandb run.
        folder: The folder of the training.
    """

    def __init__(self, run: Any, folder: Path) -> None:
        super().__init__(experiment=run, save_dir=folder, project=run.project)
        self._best: dict[str, float] = {}
        self.lost = False

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Let the training continue when wandb's own process or its disk fails."""
        try:
            yield
        except (OSError, wandb.Error) as error:
            if not self.lost:
                log.warning(
                    "wandb failed (%s). The training continues; metrics.csv has every row.", error
                )
            self.lost = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one row.

        Args:
            metrics: Values by name.
            step: Number of the batch over all epochs; None for results of the whole run.
        """
        best = self.update_best(metrics)
        if self.lost:
            return
        with self._surviving():
            super().log_metrics(metrics, step)
            if best:
                self.experiment.summary.update({f"best/{name}": best[name] for name in best})

    def update_best(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Update the best values with a row, without logging it.

        Args:
            metrics: Values by name.

        Returns:
            The values of the row that are the best so far.
        """
        better = {
            name: float(value)
            for name, value in metrics.items()
            if (sign := _sign(name)) and math.isfinite(value)
            if name not in self._best or sign * value > sign * self._best[name]
        }
        self._best |= better
        return better

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test, its confusion matrix, ROC curves and worst cells.

        Args:
            metrics: The flat metrics.
            figures: PNG files by name.
            predictions: Predictions for the test part.
        """
        self.log_metrics(metrics)
        if self.lost:
            return
        with self._surviving():
            self.experiment.log(
                {f"figure/{name}": wandb.Image(str(path)) for name, path in figures.items()}
                | result_panels(predictions)
            )
            self.experiment.summary.update(dict(metrics))

    def finish(self, exit_code: int) -> None:
        """Close the run as finished (0) or failed; one that SIGTERM stopped (143) as preempted.

        wandb hands out a preempted run of a sweep again.

        Args:
            exit_code: Exit code of the training.
        """
        with self._surviving():
            if exit_code == STOPPED:
                self.experiment.mark_preempting()
            try:
                self.experiment.finish(exit_code=exit_code)
            except TimeoutError:
                log.warning(
                    "wandb's server did not take everything in time. Nothing is lost:"
                    " `wandb sync %s` sends it.",
                    Path(self.experiment.dir).parent,
                )
        if self.lost:
            # Else wandb says goodbye to its dead process when ours ends, and prints a traceback.
            with suppress(OSError, wandb.Error):
                wandb.teardown(exit_code)


def _sign(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither."""
    if name.startswith("val/"):
        return 1
    is_loss = name.startswith("train/") and name.rpartition("/")[2] not in _NOT_LOSSES
    return -1 if is_loss else 0


def start_wandb_run(
    config: TrainConfig,
    folder: Path,
    *,
    start: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> RunWandbLogger:
    """Start a wandb run in `folder`, or resume the one that was started there.

    Online, the run of the previous start continues. Offline runs cannot be appended to: a new one
    gets the rows that metrics.csv keeps, so that it is complete by itself, and the folders of
    earlier ones move to wandb/superseded/. Inside `wandb agent` the agent's run is joined.

    Args:
        config: The configuration of the training.
        folder: The folder of the training.
        start: Batches of training that are done.
        provenance: Added to wandb's configuration.

    Returns:
        The logger of the run.

    Raises:
        Hep2ganError: wandb cannot start a run.
    """
    mode = _mode(config.logger)
    id_file = folder / "wandb" / "id.json"
    former: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        former = read_json(id_file)
    in_agent = bool(os.environ.get("WANDB_SWEEP_ID"))
    resumes = in_agent or (mode == "online" and former.get("mode") == "online")
    run_id = former["id"] if resumes and "id" in former else secrets.token_hex(8)
    _supersede(folder / "wandb")
    _stage_in(folder.resolve() / "wandb" / "staged")
    run = _init(config, folder, mode, None if in_agent else run_id, provenance)
    logger = RunWandbLogger(run, folder)
    try:
        atomic_write(id_file, json.dumps({"id": run.id, "mode": mode}) + "\n")
        for axis, patterns in AXES.items():
            run.define_metric(axis)
            for pattern in patterns:
                run.define_metric(pattern, step_metric=axis)
        for step, row in logged_before(folder / "metrics.csv", start):
            # A resumed run has its rows, but their best values must not be lost.
            logger.update_best(row) if run.resumed else logger.log_metrics(row, step)
    except BaseException:
        run.finish(exit_code=1)
        raise
    return logger


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
) -> Any:
    settings, method = config.logger, config.name.partition(",")[0]
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
            name=f"{config.name}-seed{config.seed}"[:_MAX_NAME],
            group=config.study[:_MAX_NAME],
            job_type=method[:_MAX_NAME],
            tags=_tags(config),
            config=shown,
            # Absolute: wandb's own process may have begun in another working directory.
            dir=str(folder.resolve()),
            mode=mode,  # type: ignore[arg-type]
            resume="allow" if mode == "online" else None,
            # wandb's default would return a run that an earlier job left open.
            reinit="create_new",
            settings=wandb.Settings(finish_timeout=limit, finish_timeout_raises=True),
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


def _stage_in(staged: Path) -> None:
    """Where tables wait for the upload, or for `wandb sync`; wandb's own place is ~/.local."""
    # A folder that the user named stays, that of an earlier run of this process does not.
    if Path(os.environ.get("WANDB_DATA_DIR", staged)).name == staged.name:
        os.environ["WANDB_DATA_DIR"] = str(staged)


WORST = 20
POINTS = 100
"""Most points of one class's ROC curve: more than a panel has pixels for."""


def result_panels(predictions: Predictions) -> dict[str, Any]:
    """Build wandb's panels of the test for what the method predicts.

    Args:
        predictions: Predictions for the test part.

    Returns:
        wandb's objects by key.
    """
    panels: dict[str, Any] = {}
    if predictions.probabilities is not None:
        panels["test/confusion_matrix"] = wandb.plot.confusion_matrix(
            y_true=predictions.label.tolist(),
            preds=predictions.predicted.tolist(),
            class_names=list(predictions.classes),
            title="Confusion matrix (test)",
        )
        panels["test/roc"] = roc_panel(predictions)
    if rows := worst_cells(predictions):
        panels["test/worst_cells"] = cell_table(predictions, rows)
        # The table keeps its pictures in an artifact; these show without opening one.
        panels["test/worst_pictures"] = [picture_of(predictions, row) for row in rows]
    return panels


def roc_panel(predictions: Predictions) -> Any:
    """Plot the ROC curve of each class against the rest.

    Args:
        predictions: Predictions with probabilities.

    Returns:
        A panel with at most `POINTS` corners of each curve.
    """
    rows = [
        [
            predictions.classes[curve.label],
            float(curve.false_positive_rate[point]),
            float(curve.true_positive_rate[point]),
        ]
        for curve in roc_curves(predictions)
        for point in _evenly_spaced(len(curve.true_positive_rate))
    ]
    return wandb.plot_table(
        data_table=wandb.Table(columns=["class", "fpr", "tpr"], data=rows),
        vega_spec_name="wandb/area-under-curve/v0",
        fields={"x": "fpr", "y": "tpr", "class": "class"},
        string_fields={
            "title": "ROC (test)",
            "x-axis-title": "False positive rate",
            "y-axis-title": "True positive rate",
        },
    )


def _evenly_spaced(length: int) -> list[int]:
    return [int(i) for i in np.linspace(0, length - 1, min(length, POINTS)).round()]


def worst_cells(predictions: Predictions, count: int = WORST) -> list[int]:
    """Choose cells: the most confident errors and the lowest Dice in turn, none twice.

    Args:
        predictions: Predictions for the test part.
        count: How many at most.

    Returns:
        Rows of the predictions.
    """
    errors = [] if predictions.probabilities is None else confident_errors(predictions, count)
    dice = lowest_dice(predictions, count)
    turns = chain.from_iterable(zip_longest(errors, dice))
    return list(dict.fromkeys(row for row in turns if row is not None))[:count]


def picture_of(predictions: Predictions, row: int) -> Any:
    """Draw one cell with its true and its generated outline, as far as it has them.

    Args:
        predictions: Predictions for the test part.
        row: Row of the cell.

    Returns:
        A wandb image with the cell's id as its caption.
    """
    return wandb.Image(overlay_cell(predictions, row), caption=str(predictions.id[row]))


def cell_table(predictions: Predictions, rows: list[int]) -> Any:
    """Make a table of cells: a picture with both outlines, and what is known of each cell.

    Columns are id, specimen, true and predicted class, Dice and probabilities; fields of what the
    method does not predict are empty.

    Args:
        predictions: Predictions for the test part.
        rows: Rows of the cells.

    Returns:
        A wandb table.
    """
    probabilities = [f"p({name})" for name in predictions.classes]
    columns = ["cell", "id", "specimen", "true", "predicted", "dice", *probabilities]
    dice = predictions.dice
    scores = predictions.probabilities
    data = [
        [
            picture_of(predictions, row),
            str(predictions.id[row]),
            int(predictions.specimen[row]),
            predictions.classes[predictions.label[row]],
            predictions.classes[predictions.predicted[row]] if scores is not None else None,
            None if dice is None else float(dice[row]),
            *(scores[row].tolist() if scores is not None else [None] * len(probabilities)),
        ]
        for row in rows
    ]
    return wandb.Table(columns=columns, data=data)
