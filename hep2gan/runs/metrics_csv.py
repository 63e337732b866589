"""Reader of metrics.csv, the curves of a run; a damaged file is an error."""

import csv
import io
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError, pluralize

log = logging.getLogger(__name__)

KEY_COLUMNS = ("epoch", "step")
_SERIES = ("train/", "val/", "lr")


class MetricsTable(NamedTuple):
    """Content of metrics.csv.

    Attributes:
        columns: The header; empty if there is no file.
        rows: Text by column, one mapping a row; empty text where nothing was logged.
    """

    columns: list[str]
    rows: list[dict[str, str]]

    def before(self, batch: int) -> list[dict[str, str]]:
        """Return the rows that a training keeps that resumes at a batch.

        Args:
            batch: Number of batches done, counted over all epochs.
        """
        return [row for row in self.rows if row["step"] and int(float(row["step"])) < batch]

    @property
    def epochs(self) -> list[int]:
        """The epochs whose training was logged to its end, ascending."""
        losses = [name for name in self.columns if name.startswith("train/")]
        ended = (row for row in self.rows if any(row[name] for name in losses))
        return sorted({int(float(row["epoch"])) for row in ended if row["epoch"]})


def read_metrics_csv(path: Path) -> MetricsTable:
    """Read a table of numbers with the columns epoch and step; a cell may be empty.

    A killed process can leave an incomplete last line, which is skipped with a warning.

    Args:
        path: A metrics.csv; may be missing.

    Returns:
        Its columns and rows; none for a missing file.

    Raises:
        Hep2ganError: If any other row is incomplete or holds no numbers; states the line and the
            reason.
    """
    if not path.is_file():
        return MetricsTable([], [])
    try:
        text = path.read_bytes().decode("utf-8")
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        lines, end, rest = text.rpartition("\n")
        if rest:
            log.warning("%s ended within a line, which is left out.", path)
        return _parse(lines + end)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def require_epochs(path: Path, epochs: int) -> None:
    """Check that the file is intact and holds all epochs that are done.

    Args:
        path: A metrics.csv. A missing file is no error: curves then begin where the run resumes.
        epochs: Number of complete epochs.

    Raises:
        Hep2ganError: If the file is damaged or lacks an epoch.
    """
    table = read_metrics_csv(path)
    if table.columns:
        _check_epochs(path, [epoch for epoch in table.epochs if epoch < epochs], epochs)


def logged_before(path: Path, batch: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the logged values that a training keeps that resumes at a batch, in their order.

    Args:
        path: A metrics.csv; may be missing.
        batch: Number of batches done, counted over all epochs.

    Yields:
        Step, and values by column.

    Raises:
        Hep2ganError: If the file is damaged.
    """
    for row in read_metrics_csv(path).before(batch):
        yield int(float(row.pop("step"))), {name: float(text) for name, text in row.items() if text}


class Series(NamedTuple):
    """One logged quantity over E epochs.

    Attributes:
        name: Its column in metrics.csv.
        epoch: (E,) epochs as in the file.
        value: (E,) values.
    """

    name: str
    epoch: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]


def read_series(path: Path, epochs: int | None = None) -> dict[str, Series]:
    """Read the curves of losses, validation metrics and learning rates by epoch.

    Args:
        path: A metrics.csv.
        epochs: Number of epochs of the training; None if unknown.

    Returns:
        Series by name; the mean of an epoch that has several values.

    Raises:
        Hep2ganError: If the file is missing or damaged, or lacks an epoch.
    """
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", "train the run again")
    table = read_metrics_csv(path)
    _check_epochs(path, table.epochs, epochs)
    values: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in table.rows:
        for name, text in row.items():
            if text and name.startswith(_SERIES) and row["epoch"]:
                values[name][float(row["epoch"])].append(float(text))
    return {name: _mean_by_epoch(name, by_epoch) for name, by_epoch in values.items()}


def _mean_by_epoch(name: str, by_epoch: dict[float, list[float]]) -> Series:
    epochs = sorted(by_epoch)
    return Series(name, np.array(epochs), np.array([np.mean(by_epoch[e]) for e in epochs]))


def _parse(text: str) -> MetricsTable:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = next(reader, [])
        _check_header(columns)
        return MetricsTable(columns, [_parse_row(cells, columns) for cells in reader])
    except (csv.Error, ValueError) as error:
        raise ValueError(f"line {max(reader.line_num, 1)}: {error}") from error


def _check_header(columns: Sequence[str]) -> None:
    if missing := [name for name in KEY_COLUMNS if name not in columns]:
        raise ValueError(f"it has no column {missing[0]}")
    if duplicates := [name for name, count in Counter(columns).items() if count > 1]:
        raise ValueError(f"the column {duplicates[0]} occurs twice")


def _parse_row(cells: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, {len(columns)} columns")
    row = dict(zip(columns, cells, strict=True))
    for name, text in row.items():
        value = float(text) if text else 0.0
        is_count = math.isfinite(value) and value >= 0 and value == int(value)
        if name in KEY_COLUMNS and not is_count:
            raise ValueError(f"{name} is {text}")
    return row


def _check_epochs(path: Path, logged: Sequence[int], expected: int | None) -> None:
    """Raise Hep2ganError where an epoch between others is missing, or the last of `expected` is.

    The first may be missing: curves that were deleted begin where the run was resumed.
    """
    last = logged[-1] if expected is None and logged else (expected or 0) - 1
    missing = sorted(set(range(logged[0] if logged else 0, last + 1)) - set(logged))
    if len(missing) > 1:
        raise _damaged(
            path, f"the rows of {pluralize(len(missing), 'epoch')} are missing, first {missing[0]}"
        )
    if missing:
        raise _damaged(path, f"the row of epoch {missing[0]} is missing")


def _damaged(path: Path, reason: object) -> Hep2ganError:
    return Hep2ganError(
        f"{path} is damaged ({reason})",
        "curves must be complete",
        "restore it, or delete it to lose the curves so far",
    )
