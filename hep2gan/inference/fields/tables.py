"""The tables cells.csv, fields.csv and specimens.csv: their columns, and rows as they are done."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hep2gan.inference.fields.flags import CellFlags
from hep2gan.inference.fields.predictor import FieldResult
from hep2gan.io import atomic_open
from hep2gan.statistics.specimens import SpecimenAnswer

FLAGS = ("at_border", "odd_size", "out_of_focus")
"""Flags of cells that do not count in a field or specimen that has others."""
UNLIKE = "unlike_training"
"""The flag of cells beyond the run's limit of distances; these count."""


def cell_columns(
    classes: Sequence[str],
    *,
    has_distances: bool = False,
    has_limit: bool = False,
    has_spread: bool = False,
) -> list[str]:
    """Name the columns of cells.csv.

    Args:
        classes: K class names; empty without a classifier.
        has_distances: Whether the method has a Gaussian mixture.
        has_limit: Whether the run has a limit of distances.
        has_spread: Whether several members or views look at each cell.
    """
    predicted = ["predicted", *(f"p_{name}" for name in classes), "entropy"] if classes else []
    predicted += ["spread"] if has_spread else []
    distances = ["distance", "nearest_class"] if has_distances else []
    place = ("top", "left", "bottom", "right", "centroid_y", "centroid_x", "area")
    return [
        *("field", "specimen", "id", *place),
        *predicted,
        *distances,
        *FLAGS,
        *([UNLIKE] if has_limit else []),
        "sharpness",
    ]


def cell_rows(
    field: str,
    specimen: str,
    result: FieldResult,
    flags: CellFlags,
    classes: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of cells.csv of one field.

    Args:
        field: File of the field.
        specimen: Name of its specimen.
        result: Its cells.
        flags: What is odd about them.
        classes: K class names; empty without a classifier.

    Yields:
        Values by column; places in px of the field, the box without margin.
    """
    measures = result.measure()
    for at, region in enumerate(result.regions):
        row: dict[str, Any] = {"field": field, "specimen": specimen, "id": region.label}
        row |= zip(("top", "left", "bottom", "right"), region.box, strict=True)
        row["centroid_y"], row["centroid_x"] = (f"{value:.2f}" for value in region.centroid)
        row["area"] = region.area
        if result.probabilities is not None and result.predicted is not None:
            chances = result.probabilities[at].tolist()
            row["predicted"] = classes[int(result.predicted[at])]
            row |= {f"p_{name}": f"{p:.6f}" for name, p in zip(classes, chances, strict=True)}
        if measures.entropy is not None:
            row["entropy"] = f"{measures.entropy[at]:.4f}"
        if result.spread is not None:
            row["spread"] = f"{result.spread[at]:.6f}"
        if measures.distance is not None and measures.nearest is not None:
            row["distance"] = f"{measures.distance[at]:.4f}"
            row["nearest_class"] = classes[int(measures.nearest[at])]
        if measures.unlike is not None:
            row[UNLIKE] = int(measures.unlike[at])
        row |= {name: int(getattr(flags, name)[at]) for name in FLAGS}
        row["sharpness"] = f"{flags.sharpness[at]:.4f}"
        yield row


def answer_columns(classes: Sequence[str]) -> list[str]:
    """Name the columns of an answer in fields.csv and specimens.csv.

    Args:
        classes: K class names; empty without a classifier.
    """
    if not classes:
        return ["cells", "counted"]
    sums = [f"{what}_{name}" for what in ("votes", "share", "mean_p") for name in classes]
    winner = ("predicted", "share", "interval_low", "interval_high", "predicted_by_mean_p")
    return ["cells", "counted", *winner, *sums]


def answer_row(answer: SpecimenAnswer, classes: Sequence[str]) -> dict[str, Any]:
    """Put an answer into columns; those without a value are left out.

    Args:
        answer: The answer of a field or a specimen.
        classes: K class names.

    Returns:
        Values by column, see `answer_columns`.
    """
    row: dict[str, Any] = {"cells": answer.cells, "counted": answer.counted}
    row |= {f"votes_{name}": int(votes) for name, votes in zip(classes, answer.votes, strict=True)}
    if answer.by_majority is None or answer.by_probability is None or answer.interval is None:
        return row
    row["predicted"] = classes[answer.by_majority]
    row["share"] = f"{answer.share[answer.by_majority]:.4f}"
    row["interval_low"], row["interval_high"] = (f"{end:.4f}" for end in answer.interval)
    row["predicted_by_mean_p"] = classes[answer.by_probability]
    for what, values in (("share", answer.share), ("mean_p", answer.probability)):
        row |= {f"{what}_{name}": f"{v:.4f}" for name, v in zip(classes, values, strict=True)}
    return row


class TableWriter:
    """Writes the rows of a table one after the other.

    Args:
        stream: Open for writing text.
        columns: Names of the columns.
    """

    def __init__(self, stream: io.TextIOBase, columns: Sequence[str]) -> None:
        self._writer = csv.DictWriter(stream, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row.

        Args:
            row: Values by column; those that it lacks are empty.
        """
        self._writer.writerow(row)


@contextmanager
def open_table(path: Path, columns: Sequence[str]) -> Iterator[TableWriter]:
    """Write a table row by row, so that it need not be in memory; it appears when it is whole.

    Args:
        path: The file.
        columns: Names of the columns.

    Yields:
        What writes its rows.
    """
    with atomic_open(path) as file:
        # File names that are no UTF-8 go back to the bytes that they have on the disk.
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="", write_through=True)
        yield TableWriter(text, columns)
        text.flush()
        text.detach()
