"""metrics.csv: one row a log call, kept over resumed starts."""

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from hep2gan.io import atomic_open, with_path_in_errors
from hep2gan.runs.metrics_csv import KEY_COLUMNS, read_metrics_csv


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
        self._columns = list(KEY_COLUMNS)
        self._keep_before(start)

    @rank_zero_only
    def _keep_before(self, start: int) -> None:
        table = read_metrics_csv(self._path)
        self._columns = table.columns or self._columns
        self._rewrite(table.before(start))

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
            self._columns += sorted(new)
            self._rewrite(read_metrics_csv(self._path).rows)
        with (
            with_path_in_errors(self._path),
            self._path.open("a", newline="", encoding="utf-8") as file,
        ):
            csv.DictWriter(file, self._columns).writerow(row)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_open(self._path) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.DictWriter(text, self._columns)
            writer.writeheader()
            writer.writerows(rows)
            text.flush()
            text.detach()
