"""Weights & Biases: one run a training, which is resumed with it."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

from hep2gan.config import LoggerSettings
from hep2gan.runs.predictions import Predictions
from hep2gan.training.loggers.chosen import ChosenEpoch
from hep2gan.training.loggers.course import Course, Picture
from hep2gan.training.loggers.identity import read_identity, write_identity
from hep2gan.training.loggers.wandb_artifacts import link_to_registry, model_artifact, use_data
from hep2gan.training.loggers.wandb_panels import result_panels, shown_cells
from hep2gan.training.loggers.weights import LoggedWeights

log = logging.getLogger(__name__)

STOPPED = 143
"""Exit code of a job that SIGTERM stopped: 128 + 15."""


class RunWandbLogger(WandbLogger):
    """Lightning's logger on a run of its own, whose summary holds the values of the chosen epoch.

    The summary holds the last value of a metric under its own name, where sweeps and tables look
    for it, and under best/<name> that of the epoch whose weights are tested. wandb's own
    `define_metric(summary="max")` takes each metric's maximum, of whatever epoch, and drops the
    last value.

    Args:
        run: The wandb run.
        folder: The folder of the training.
        settings: The group `logger` of the configuration; its defaults if None.
        monitor: The validation metric that chooses the epoch; None chooses the last.
    """

    def __init__(
        self,
        run: Any,
        folder: Path,
        settings: LoggerSettings | None = None,
        monitor: str | None = None,
    ) -> None:
        super().__init__(experiment=run, save_dir=folder, project=run.project)
        self._folder, self._settings = folder, settings or LoggerSettings()
        self._chosen = ChosenEpoch(monitor)
        self._alarms: set[str] = set()
        self.lost = self.stopped_by_server = False

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Let the training continue when wandb's own process or its disk fails."""
        try:
            with _staged_in(self._folder.resolve() / "wandb" / "staged"):
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
        best = self._chosen.update(metrics)
        if self.lost:
            return
        with self._surviving():
            super().log_metrics(metrics, step)
            if best:
                self.experiment.summary.update(best)

    def note(self, course: Course) -> None:
        """Take what the run has already: it is not logged again.

        Args:
            course: The course of the run so far.
        """
        for _, row in course.rows:
            self._chosen.update(row)
        self._alarms |= course.alarms.keys()

    def log_alarm(self, kind: str, text: str) -> None:
        """Raise an alert, the first of its kind alone; wandb sends it to those who asked for it.

        Args:
            kind: What is wrong, as a word.
            text: A sentence.
        """
        if self.lost or kind in self._alarms:
            return
        self._alarms.add(kind)
        with self._surviving():
            self.experiment.alert(kind.replace("_", " ").capitalize(), text, level="WARN")
            self.experiment.summary.update({f"alarm/{kind}": text})

    def log_picture(self, picture: Picture) -> None:
        """Log the picture of an epoch.

        Args:
            picture: A picture of a few cells.
        """
        if self.lost:
            return
        with self._surviving():
            image = wandb.Image(str(picture.path), caption=picture.caption)
            self.experiment.log({"pictures/epochs": image, "epoch": picture.epoch})

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test, its confusion matrix, ROC curves and cells.

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
                | result_panels(predictions, self._settings.table_cells)
            )
            cells = shown_cells(predictions, self._settings.table_cells)
            total = len(predictions.label)
            if 0 < len(cells) < total:
                log.info(
                    "The table of predictions on wandb holds %d of %d test cells: the worst, and"
                    " others at random (logger.table_cells).",
                    *(len(cells), total),
                )
            shown = {"test/cells_in_table": len(cells)}
            self.experiment.summary.update(dict(metrics) | shown)

    def log_data(self, data: Mapping[str, Any]) -> None:
        """Say which data the run uses.

        Args:
            data: What the provenance has of it.
        """
        with self._surviving():
            use_data(self.experiment, data)

    def log_weights(self, weights: LoggedWeights) -> None:
        """Log weights as a version of the run's artifact; the same ones not twice.

        Args:
            weights: The weights, in a folder that is gone afterwards.
        """
        if self.lost:
            return
        identity = read_identity(self._folder, "wandb")
        logged = identity.get("weights") or {}
        with self._surviving():
            artifact = model_artifact(weights)
            name = f"{artifact.name.partition(':')[0]}:{weights.aliases[0]}"
            if logged.get(weights.aliases[0]) == artifact.digest:
                return
            self.experiment.log_artifact(artifact, aliases=[*weights.aliases])
            shown = {f"weights/{alias}": name for alias in weights.aliases}
            self.experiment.summary.update(shown)
            done = dict.fromkeys(weights.aliases, artifact.digest)
            write_identity(self._folder, "wandb", identity | {"weights": {**logged, **done}})
            if "best" in weights.aliases and (target := self._settings.registry):
                link_to_registry(self.experiment, artifact, target)

    def finish(self, exit_code: int) -> None:
        """Close the run as finished (0) or failed; one that SIGTERM stopped (143) as preempted.

        wandb hands out a preempted run of a sweep again; one that it has stopped itself, as
        `early_terminate` does, is not to be.

        Args:
            exit_code: Exit code of the training.
        """
        with self._surviving():
            if exit_code == STOPPED and not self.stopped_by_server:
                self.experiment.mark_preempting()
            try:
                self.experiment.finish(exit_code=exit_code)
            except TimeoutError:
                log.warning(
                    "wandb's server did not take everything in time. Nothing is lost:"
                    " `wandb sync %s` sends it.",
                    Path(self.experiment.dir).parent,
                )
            identity = read_identity(self._folder, "wandb")
            if exit_code == 0 and identity.get("mode") != "disabled":
                write_identity(self._folder, "wandb", identity | {"finished": True})
        if self.lost:
            # Else wandb says goodbye to its dead process when ours ends, and prints a traceback.
            with suppress(OSError, wandb.Error):
                wandb.teardown(exit_code)


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Let artifacts wait there for the upload, or for `wandb sync`; wandb's own is ~/.local.

    For a moment only: wandb warns of variables that have changed when the next run starts.
    """
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("WANDB_DATA_DIR", None)
