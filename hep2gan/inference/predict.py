"""Segment and name the cells of image files that nobody has labelled."""

import csv
import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hep2gan.errors import Hep2ganError
from hep2gan.inference.backend import Engine
from hep2gan.inference.image_files import Found
from hep2gan.inference.ordered import in_order
from hep2gan.inference.results import Cell, Named, read_cell, write_result
from hep2gan.whole import write_whole

THREADS = 4
"""That read and write beside the networks: they wait for the disk, and Pillow lets others run."""


@dataclass
class Report:
    """How many images were done, and what is wrong with the others."""

    done: int = 0
    problems: list[str] = field(default_factory=list)


class Predictor:
    """Run networks over files, a batch at a time, and write what they say.

    Files of the next batch are read and those of the last are written while the networks run.
    """

    def __init__(self, engine: Engine, classes: Sequence[str], size: int) -> None:
        self._engine, self._classes, self._size = engine, tuple(classes), size

    def predict(
        self,
        images: Sequence[Found],
        output: Path,
        *,
        batch_size: int,
        white: int | None,
        overlays: bool,
        progress: Callable[[int, int], None],
    ) -> Report:
        """Write masks/, overlays/ and predictions.csv into `output`; skip what cannot be read."""
        report, total = Report(), len(images)
        read = partial(_read, size=self._size, white=white, shown=overlays)
        write = partial(write_result, classes=self._classes, output=output)
        with (
            ThreadPoolExecutor(THREADS) as pool,
            closing(in_order(pool, read, images, ahead=batch_size)) as cells,
            closing(self._named(cells, batch_size, report)) as named,
            closing(in_order(pool, write, named, ahead=batch_size)) as written,
        ):
            rows = []
            for row in written:
                rows.append(row)
                report.done = len(rows)
                progress(report.done + len(report.problems), total)
        output.mkdir(parents=True, exist_ok=True)
        write_whole(output / "predictions.csv", _csv(rows))
        return report

    def _named(
        self, cells: Iterator[Cell | Hep2ganError], batch_size: int, report: Report
    ) -> Generator[Named]:
        """Run the networks over each `batch_size` files; those that could not be read are told."""
        while batch := list(islice(cells, batch_size)):
            report.problems += [str(cell) for cell in batch if isinstance(cell, Hep2ganError)]
            if readable := [cell for cell in batch if isinstance(cell, Cell)]:
                image = np.stack([cell.stored for cell in readable])
                levels = np.array([cell.levels for cell in readable], np.float32)
                mask, chances = self._engine(image, levels)
                for place, cell in enumerate(readable):
                    yield Named(
                        cell,
                        None if mask is None else mask[place],
                        None if chances is None else chances[place],
                    )


def _read(found: Found, **given: Any) -> Cell | Hep2ganError:
    try:
        return read_cell(found, **given)
    except Hep2ganError as error:
        return error


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["image"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
