"""Loggers of every run: metrics.csv, kept over resumed starts, and a line an epoch for a log."""

import csv
import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from hep2gan.io import atomic_write, csv_text, with_path_in_errors
from hep2gan.runs.metrics_csv import KEY_COLUMNS, read_metrics_csv
from hep2gan.training.loggers.course import save_alarm

log = logging.getLogger(__name__)


class _LocalLogger(Logger):
    """A logger that takes rows alone."""

    name = version = ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The run's config.yaml holds them."""


class CsvLogger(_LocalLogger):
    """Append metrics to a CSV file with the columns epoch, step and one for each metric.

    Lightning's CSVLogger deletes the file of a run that is resumed; this one continues it and drops
    the rows of batches that will be trained again.

    Args:
        path: The file.
        start: The first batch, counted over all epochs, that is still to come.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        super().__init__()
        self._path = path
        self._columns = list(KEY_COLUMNS)
        self._keep_before(start)

    @rank_zero_only
    def _keep_before(self, start: int) -> None:
        table = read_metrics_csv(self._path)
        self._columns = table.columns or self._columns
        self._rewrite(table.before(start))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row; new names widen the table.

        Args:
            metrics: Values by name, with `epoch`.
            step: Number of the batch over all epochs.
        """
        row = {"step": "" if step is None else str(step)}
        row |= {name: repr(float(value)) for name, value in metrics.items()}
        if "epoch" in row:
            row["epoch"] = str(int(metrics["epoch"]))
        if new := [name for name in row if name not in self._columns]:
            self._columns += sorted(new)
            self._rewrite(read_metrics_csv(self._path).rows)
        with (
            with_path_in_errors(self._path),
            self._path.open("a", newline="", encoding="utf-8") as file,
        ):
            csv.DictWriter(file, self._columns).writerow(row)

    @rank_zero_only
    def log_alarm(self, kind: str, text: str) -> None:
        """Keep the first alarm of a kind in alarms.json beside the file.

        Args:
            kind: What is wrong, as a word.
            text: A sentence.
        """
        save_alarm(self._path.parent, kind, text)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        atomic_write(self._path, csv_text(self._columns, rows, line_end="\r\n"))


# ---------------------------------------------------------------------- a line an epoch


_SECONDS = "speed/seconds_per_epoch"
_SCORES = ("val/dice", "val/f1")


class ConsoleLogger(_LocalLogger):
    """Log a line an epoch: its number, each network's total loss, the scores and the seconds.

    Args:
        epochs: Epochs of the training.

    >>> row = {"train/generator/total": 1.25, "speed/seconds_per_epoch": 12.3}
    >>> ConsoleLogger(200).format_epoch(2, row)
    'epoch 3/200  generator 1.25  12.3 s'
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._row: dict[str, float] = {}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Collect an epoch's rows, and log its line when losses and time are known.

        Args:
            metrics: Values by name.
            step: Not used.
        """
        self._row |= {name: float(value) for name, value in metrics.items()}
        if _SECONDS in self._row and any(name.startswith("train/") for name in self._row):
            log.info(self.format_epoch(int(self._row.get("epoch", 0)), self._row))
            self._row = {}

    def format_epoch(self, epoch: int, row: dict[str, float]) -> str:
        """Format the line of an epoch.

        Args:
            epoch: Its number, from 0.
            row: Its metrics, with its seconds.

        Returns:
            The line.
        """
        losses = {
            name.split("/")[1]: value
            for name, value in row.items()
            if name.startswith("train/") and name.endswith("/total")
        }
        values = losses | {name: row[name] for name in _SCORES if name in row}
        words = [f"{name} {value:.4g}" for name, value in values.items()]
        return "  ".join([f"epoch {epoch + 1}/{self._epochs}", *words, f"{row[_SECONDS]:.1f} s"])
