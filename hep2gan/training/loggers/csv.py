"""metrics.csv: one row a log call, kept over resumed starts."""

import csv
import io
import logging
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_open, with_path_in_errors
from hep2gan.runs.metrics_csv import MetricsTable, check_epochs, epochs_of, read_metrics_csv

log = logging.getLogger(__name__)


class CsvLogger(Logger):
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
        self._columns = ["epoch", "step"]
        self._keep_before(start)

    @rank_zero_only
    def _keep_before(self, start: int) -> None:
        self._rewrite(_before(self._read(), start))

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one file a run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row; new names widen the table."""
        row = {"step": "" if step is None else str(step)}
        row |= {name: repr(float(value)) for name, value in metrics.items()}
        if "epoch" in row:
            row["epoch"] = str(int(metrics["epoch"]))
        new = [name for name in row if name not in self._columns]
        if new:
            rows = self._read()
            self._columns += sorted(new)
            self._rewrite(rows)
        with (
            with_path_in_errors(self._path),
            self._path.open("a", newline="", encoding="utf-8") as file,
        ):
            csv.DictWriter(file, self._columns).writerow(row)

    def _read(self) -> list[dict[str, str]]:
        table = _table(self._path)
        self._columns = table.columns or self._columns
        return table.rows

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_open(self._path) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.DictWriter(text, self._columns)
            writer.writeheader()
            writer.writerows(rows)
            text.flush()
            text.detach()


def logged_before(path: Path, start: int) -> Iterator[tuple[int | None, dict[str, float]]]:
    """Yield step and values of the rows that a start at batch `start` keeps, in their order."""
    for row in _before(_table(path).rows, start):
        step = row.pop("step", "")
        yield int(step) if step else None, {name: float(text) for name, text in row.items() if text}


def _before(rows: list[dict[str, str]], start: int) -> list[dict[str, str]]:
    return [row for row in rows if row["step"] and int(row["step"]) < start]


def require_epochs(path: Path, epochs: int) -> None:
    """Raise Hep2ganError unless the file is intact and holds all `epochs` that are done.

    A missing file is no error: curves then begin where the run resumes.
    """
    if path.is_file():
        logged = epochs_of(_table(path).rows)
        try:
            check_epochs([epoch for epoch in logged if epoch < epochs], epochs)
        except ValueError as error:
            raise _damaged(path, error) from error


def _table(path: Path) -> MetricsTable:
    """Read columns and rows of the file, none where it is missing."""
    if not path.is_file():
        return MetricsTable([], [], cut=False)
    try:
        table = read_metrics_csv(path)
    except ValueError as error:
        raise _damaged(path, error) from error
    if table.cut:
        log.warning("%s ended within a line, which is left out.", path)
    return table


def _damaged(path: Path, error: ValueError) -> Hep2ganError:
    return Hep2ganError(
        f"{path} is damaged ({error})",
        "a run is resumed with all of its curves",
        "restore it, or delete it: its curves then begin where the run resumes",
    )
