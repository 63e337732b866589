"""Drawn cells as files, in the layout that the real set is handed out in."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom.drawing import cell_id, draw_specimen
from hep2gan.data.phantom.folder import Settings, already_drawn, check_replaceable, replaced
from hep2gan.data.phantom.specimens import Specimen, plan_specimens
from hep2gan.data.store.processes import cores, end_with_parent
from hep2gan.errors import Hep2ganError

_CHUNK = 32  # cells drawn between two reports of progress
_WORTHWHILE = 500  # cells; below, starting processes takes longer than drawing
_INTENSITIES = ("intermediate", "positive")

Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


class _Chunk(NamedTuple):
    """Cells at `places` of a specimen that `before` cells come before, bound for `folder`."""

    folder: Path
    seed: int
    specimen: Specimen
    places: range
    before: int


def write_phantom(
    root: Path,
    count: int,
    seed: int = 0,
    *,
    duplicate_specimen: bool = False,
    spread: float = 1.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw cells into the folder `root` as the ICPR 2016 set lays them out; return `root`.

    Files: `00001.png`, `00001_Mask.png` of {0, 255}, …; `gt_training.csv` without header (image,
    mask, class, intensity); `specimens.csv` (image, specimen), which the real set lacks; and
    `phantom.json`, which tells drawn cells from real ones. The folder appears whole or not at
    all. Nothing is done where the same cells are already there; other drawn cells are replaced.
    `workers`: processes to draw with, by default one per processor (from 500 cells on); the
    pixels don't depend on it. As ever with processes, a script then needs `if __name__ ==
    "__main__":`. Raises Hep2ganError when `root` holds anything but drawn cells, or can't be
    written, and as `draw_cells` does.
    """
    settings = Settings(count, seed, duplicate_specimen, spread)
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers={workers}", "at least 1 is needed", "leave it out")
    plan = plan_specimens(count, seed, duplicate_specimen=duplicate_specimen, spread=spread)
    if already_drawn(root, settings):
        return root
    check_replaceable(root)
    try:
        with replaced(root, settings) as folder:
            _write_tables(folder, plan)
            _write_cells(list(_chunks(folder, seed, plan)), count, workers, progress)
    except OSError as error:
        raise Hep2ganError(
            f"{root} can't be written ({error.strerror or error})",
            "drawn cells need a writable folder and about 10 KB each",
            "choose another folder or make room",
        ) from error
    return root


def _chunks(folder: Path, seed: int, plan: list[Specimen]) -> Iterator[_Chunk]:
    before = 0
    for specimen in plan:
        for start in range(0, specimen.size, _CHUNK):
            places = range(start, min(start + _CHUNK, specimen.size))
            yield _Chunk(folder, seed, specimen, places, before)
        before += specimen.size


def _write_cells(
    chunks: list[_Chunk], count: int, workers: int | None, progress: Progress | None
) -> None:
    if workers is None:
        workers = cores() if count >= _WORTHWHILE else 1
    if workers == 1:
        return _tell(map(_write_chunk, chunks), count, progress)
    # Spawned, not forked: forking a process whose libraries run threads can hang.
    number, context = min(workers, len(chunks)), get_context("spawn")
    with ProcessPoolExecutor(number, context, end_with_parent) as pool:
        return _tell(pool.map(_write_chunk, chunks), count, progress)


def _tell(written: Iterator[int], count: int, progress: Progress | None) -> None:
    done = 0
    for cells in written:
        done += cells
        if progress:
            progress(done, count)


def _write_chunk(chunk: _Chunk) -> int:
    """Draw and write one chunk; return its number of cells."""
    for cell in draw_specimen(chunk.specimen, chunk.seed, chunk.places, chunk.before):
        _write_png(chunk.folder / f"{cell.id}.png", cell.image)
        _write_png(chunk.folder / f"{cell.id}_Mask.png", cell.mask)
    return len(chunk.places)


def _write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, compress_level=3)


def _write_tables(folder: Path, plan: list[Specimen]) -> None:
    cells = [specimen for specimen in plan for _ in range(specimen.size)]
    truth, origin = [], ["image,specimen"]
    for place, specimen in enumerate(cells):
        name, pattern = cell_id(place), ICPR2016[specimen.label].name
        truth.append(f"{name}.png,{name}_Mask.png,{pattern},{_INTENSITIES[specimen.intensity]}")
        origin.append(f"{name}.png,{specimen.number}")
    for table, lines in (("gt_training.csv", truth), ("specimens.csv", origin)):
        (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
