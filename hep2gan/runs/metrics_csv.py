"""The rows of a metrics.csv, read so that damage is told and never drawn."""

import csv
import io
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError

KEY_COLUMNS = ("epoch", "step")


class MetricsTable(NamedTuple):
    """columns: the header. rows: texts by column. cut: whether half a last line was left out."""

    columns: list[str]
    rows: list[dict[str, str]]
    cut: bool


def read_metrics_csv(path: Path) -> MetricsTable:
    """Read a table of numbers with the column epoch or step; a cell may be empty.

    A killed process can leave a last line without its end, which is left out. Raises ValueError,
    saying why and in which line, for any other row that is not whole or holds no numbers.
    """
    text = path.read_bytes().decode("utf-8")
    if "\0" in text:
        raise ValueError("it holds zero bytes")
    cut = bool(text) and not text.endswith("\n")
    whole = text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole, newline=""), strict=True)
    try:
        columns = next(reader, [])
        _check_header(columns)
        rows = [_row(cells, columns) for cells in reader]
    except (csv.Error, ValueError) as error:
        raise ValueError(f"line {max(reader.line_num, 1)}: {error}") from error
    return MetricsTable(columns, rows, cut)


def _check_header(columns: Sequence[str]) -> None:
    if not set(KEY_COLUMNS) & set(columns):
        raise ValueError("it has no column epoch or step")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise ValueError(f"the column {twice[0]} occurs twice")


def _row(cells: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Texts by column; raises ValueError for other cells than columns, and for no numbers."""
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, {len(columns)} columns")
    row = dict(zip(columns, cells, strict=True))
    for name, text in row.items():
        value = float(text) if text else 0.0
        if name in KEY_COLUMNS and not (
            math.isfinite(value) and value >= 0 and value == int(value)
        ):
            raise ValueError(f"{name} is {text}")
    return row


def epochs_of(rows: Sequence[Mapping[str, object]]) -> list[int]:
    """The epochs whose training was logged to its end, ascending."""
    ended = [row for row in rows if any(n.startswith("train/") and v for n, v in row.items())]
    return sorted({int(float(str(row["epoch"]))) for row in ended if row.get("epoch")})


def check_epochs(found: Sequence[int], expected: int | None = None) -> None:
    """Raise ValueError where an epoch between others is missing, or the last of `expected` is.

    The first may be missing: curves that were deleted begin where the run was resumed.
    """
    last = found[-1] if expected is None and found else (expected or 0) - 1
    missing = sorted(set(range(found[0] if found else 0, last + 1)) - set(found))
    if missing:
        if len(missing) > 1:
            raise ValueError(f"the rows of {len(missing)} epochs are missing, first {missing[0]}")
        raise ValueError(f"the row of epoch {missing[0]} is missing")


class Series(NamedTuple):
    """One logged quantity: its name, epochs as in the file, and values; both (E,)."""

    name: str
    epoch: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]


def read_series(path: Path, epochs: int | None = None) -> dict[str, Series]:
    """Read a sparse metrics.csv: name to values by epoch, the mean where an epoch has several.

    Rows without an epoch (as learning rates have in Lightning's own file) get that of the next
    row by step. Batchwise losses (`step/`) and test results are left out. A last line cut short
    is ignored. epochs: how many there were, None where that is not known. Raises Hep2ganError when
    the file is missing, damaged or lacks an epoch.
    """
    rows = _rows(path, epochs)
    known = sorted((r["step"], r["epoch"]) for r in rows if "step" in r and "epoch" in r)
    steps = [step for step, _ in known]
    found: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        epoch = row.get("epoch")
        if epoch is None:
            step = row.get("step", 0.0)
            following = min(bisect_left(steps, step), len(known) - 1)
            epoch = known[following][1] if known else step
        for name, value in row.items():
            if name.startswith(("train/", "val/", "lr")):
                found[name][epoch].append(value)
    return {
        name: Series(
            name, np.array(sorted(means)), np.array([np.mean(means[e]) for e in sorted(means)])
        )
        for name, means in found.items()
    }


def _rows(path: Path, epochs: int | None) -> list[dict[str, float]]:
    """Return the filled fields of every whole row."""
    fix = f"train the run again, or delete {path} to go without curves"
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", fix)
    try:
        rows = read_metrics_csv(path).rows
        check_epochs(epochs_of(rows), epochs)
        return [{name: float(text) for name, text in row.items() if text} for row in rows]
    except (OSError, ValueError) as error:
        raise Hep2ganError(f"{path} cannot be read ({error})", "", fix) from error
