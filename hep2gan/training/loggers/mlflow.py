"""MLflow: one run a training, in a file of the run's folder or on a server."""

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from PIL import Image

from hep2gan.config import TrainConfig
from hep2gan.io import csv_text
from hep2gan.reports.figures.overlay import overlay_cell
from hep2gan.runs.folder import flatten
from hep2gan.runs.predictions import Predictions
from hep2gan.training.loggers.chosen import ChosenEpoch
from hep2gan.training.loggers.course import Course, Picture
from hep2gan.training.loggers.identity import (
    method_of,
    read_identity,
    run_name,
    write_identity,
)
from hep2gan.training.loggers.weights import LoggedWeights
from hep2gan.training.loggers.worst import worst_cells

log = logging.getLogger(__name__)

_BATCH, _PARAMETERS, _LONGEST = 1000, 100, 500
"""Most metrics and parameters of one request, and the longest value of a parameter."""
_STOPPED = (130, 143)


class RunMLflowLogger(MLFlowLogger):
    """Lightning's logger on a run of its own, which writes at the ends of epochs alone.

    Args:
        config: The configuration of the training.
        folder: The folder of the training.
        tracking_uri: The store.
        monitor: The validation metric that chooses the epoch; None chooses the last.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, tracking_uri: str, monitor: str | None = None
    ) -> None:
        super().__init__(
            experiment_name=config.logger.project or "hep2gan",
            run_name=run_name(config),
            tracking_uri=tracking_uri,
            tags=_tags(config),
            artifact_location=_artifacts_beside(tracking_uri),
        )
        self._folder, self._chosen = folder, ChosenEpoch(monitor)
        self._alarms: set[str] = set()
        self._waiting: list[Any] = []
        self._best: dict[str, float] = {}
        self.lost = self._replaying = False

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Let the training continue when the store or the server fails."""
        try:
            yield
        # Of MLflow, its database and its connection alike.
        except Exception as error:
            if not self.lost:
                log.warning(
                    "MLflow failed (%s). The training continues; metrics.csv has every row.", error
                )
            self.lost = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep a row until the epoch ends: a step does not wait for the store.

        Args:
            metrics: Values by name; those of an epoch are logged at its number.
            step: Number of the batch over all epochs, for step/*.
        """
        self._best |= self._chosen.update(metrics)
        of_steps = any(name.startswith("step/") for name in metrics)
        self._add(metrics, (step or 0) if of_steps else int(metrics.get("epoch", 0)))
        if any(name.startswith("train/") for name in metrics) and not self._replaying:
            self._flush()

    def _add(self, metrics: Mapping[str, float], step: int) -> None:
        if self.lost:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [
            Metric(metric_name(name), float(value), now, step)
            for name, value in metrics.items()
            if name != "epoch"
        ]

    def _flush(self) -> None:
        with self._surviving():
            for first in range(0, len(self._waiting), _BATCH):
                rows = self._waiting[first : first + _BATCH]
                self.experiment.log_batch(self.run_id, metrics=rows)
        self._waiting = []

    def replay(self, course: Course) -> None:
        """Log what the training has done already, in few requests.

        Args:
            course: The course of the training.
        """
        self._replaying = True
        course.replay(self)
        self._replaying = False
        self._flush()

    def log_alarm(self, kind: str, text: str) -> None:
        """Tag the run, with the first alarm of a kind alone.

        Args:
            kind: What is wrong, as a word.
            text: A sentence.
        """
        if not self.lost and kind not in self._alarms:
            self._alarms.add(kind)
            self._tag(f"alarm/{kind}", text)

    def _tag(self, key: str, text: str) -> None:
        with self._surviving():
            self.experiment.set_tag(self.run_id, key, text)

    def log_picture(self, picture: Picture) -> None:
        """Log the picture of an epoch.

        Args:
            picture: A picture of a few cells.
        """
        if self.lost:
            return
        with self._surviving(), Image.open(picture.path) as image:
            self.experiment.log_image(
                self.run_id, image.copy(), key="pictures/epochs", step=picture.epoch
            )
            self.experiment.log_artifact(self.run_id, str(picture.path), "pictures")

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test, the worst cells and the whole table of predictions.

        Args:
            metrics: The flat metrics.
            figures: PNG files by name.
            predictions: Predictions for the test part.
        """
        if self.lost:
            return
        self._add(metrics, 0)
        self._flush()
        with self._surviving():
            client, run_id = self.experiment, self.run_id
            for path in figures.values():
                client.log_artifact(run_id, str(path), "figures")
            client.log_text(run_id, predictions_table(predictions), "test/predictions.csv")
            for rank, row in enumerate(worst_cells(predictions), 1):
                name = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(predictions.id[row]))[:80]
                picture = Image.fromarray(overlay_cell(predictions, row))
                client.log_image(run_id, picture, f"test/worst_cells/{rank:02d}_{name}.png")

    def log_parameters(self, config: TrainConfig, provenance: Mapping[str, Any] | None) -> None:
        """Log the configuration and the provenance as parameters.

        Args:
            config: The configuration of the training.
            provenance: Its provenance.
        """
        from mlflow.entities import Param

        values = dict(flatten(config.to_plain())) | dict(flatten(provenance or {}, "provenance"))
        parameters = [
            Param(metric_name(key), str(value)[:_LONGEST])
            for key, value in values.items()
            if not key.startswith("logger.")
        ]
        for first in range(0, len(parameters), _PARAMETERS):
            self.experiment.log_batch(self.run_id, params=parameters[first : first + _PARAMETERS])

    def log_data(self, data: Mapping[str, Any]) -> None:
        """Say which data the run uses.

        Args:
            data: What the provenance has of it.
        """
        if self.lost:
            return
        with self._surviving():
            from mlflow.entities import Dataset, DatasetInput

            described = json.dumps({k: data[k] for k in sorted(data)})
            fingerprint = str(data["fingerprint"])
            # A digest has at most 36 characters; the source holds all of it.
            dataset = Dataset(
                str(data.get("name") or "cells"), fingerprint[:36], "hep2gan store", described
            )
            self.experiment.log_inputs(self.run_id, datasets=[DatasetInput(dataset)])
            self._tag("data.fingerprint", fingerprint)

    def log_weights(self, weights: LoggedWeights) -> None:
        """Log weights into a folder that is named by its first alias.

        Args:
            weights: The weights, in a folder that is gone afterwards.
        """
        if self.lost:
            return
        with self._surviving():
            place = f"weights/{weights.aliases[0]}"
            self.experiment.log_artifacts(self.run_id, str(weights.folder), place)
            self.experiment.log_dict(self.run_id, weights.metadata, f"{place}/metadata.json")
            for alias in weights.aliases:
                self._tag(f"weights.{alias}", f"{place} (epoch {weights.epoch + 1})")

    def finalize(self, status: str = "success") -> None:
        """Lightning's end of the training, before the test: the run goes on.

        Args:
            status: Not used.
        """

    def finish(self, exit_code: int) -> None:
        """Write the values of the chosen epoch, and close the run.

        Args:
            exit_code: 0 finished, 130 and 143 stopped by a signal, anything else failed.
        """
        if self.lost:
            return
        self._add(self._best, int(self._best.get("best/epoch", 0)))
        self._flush()
        with self._surviving():
            status = {0: "FINISHED"} | dict.fromkeys(_STOPPED, "KILLED")
            self.experiment.set_terminated(self.run_id, status.get(exit_code, "FAILED"))
            identity = read_identity(self._folder, "mlflow")
            write_identity(self._folder, "mlflow", identity | {"finished": exit_code == 0})


def metric_name(name: str) -> str:
    """Change a name to one that MLflow accepts, other names to other ones.

    Args:
        name: The name of a metric.

    Returns:
        ASCII letters, digits and -_./ and spaces; other characters as their code.

    >>> metric_name("val/dice/Nucleolär (1+)")
    'val/dice/Nucleol_e4_r _28_1_2b__29_'
    """
    return re.sub(r"[^A-Za-z0-9_/. -]", lambda match: f"_{ord(match[0]):x}_", name)


def predictions_table(predictions: Predictions) -> str:
    """Write a row for each cell of the test.

    Args:
        predictions: Predictions for the test part.

    Returns:
        CSV: id, specimen, true and predicted class, Dice and probabilities, as far as there are.
    """
    scores, dice = predictions.probabilities, predictions.dice
    rows = []
    for row, name in enumerate(predictions.id):
        values: dict[str, Any] = {"id": str(name), "specimen": int(predictions.specimen[row])}
        values["true"] = predictions.classes[predictions.label[row]]
        if scores is not None:
            values["predicted"] = predictions.classes[predictions.predicted[row]]
        if dice is not None:
            values["dice"] = float(dice[row])
        if scores is not None:
            names = (f"p({label})" for label in predictions.classes)
            values |= dict(zip(names, scores[row].tolist(), strict=True))
        rows.append({key: str(value) for key, value in values.items()})
    return csv_text(list(rows[0]) if rows else ["id"], rows)


def _artifacts_beside(tracking_uri: str) -> str | None:
    """A folder beside a store in a file; a server knows its own place."""
    scheme, _, path = tracking_uri.partition(":///")
    if scheme != "sqlite":
        return None
    return (Path(path).resolve().parent / "mlflow" / "artifacts").as_uri()


def _tags(config: TrainConfig) -> dict[str, str]:
    data = config.source
    named = {
        "study": config.study,
        "method": method_of(config),
        "seed": str(config.seed),
        "data": str(data.name),
        "split": config.split.kind,
    }
    return named | {str(tag): "true" for tag in config.logger.tags or ()}
