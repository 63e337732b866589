"""Generating synthetic cells, one by one or as a folder in the layout of the ICPR 2016 set."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom.scene import blur, compose_scene, expose, sample_defocus
from hep2gan.data.phantom.specimens import Specimen, plan_specimens, specimen_generator
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.source import DataSource, RawCells
from hep2gan.data.store.pack_worker import end_with_parent, explain_dead_worker
from hep2gan.errors import Hep2ganError
from hep2gan.io import (
    Progress,
    atomic_folder,
    available_cores,
    check_replaceable,
    file_lock,
    progress_bar,
)
from hep2gan.settings import NonNegative, PositiveInt, Seed

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels than before."""
MARKER = "phantom.json"

_OWN_FILES = re.compile(r"\d{5,}(_Mask)?\.png|gt_training\.csv|specimens\.csv|phantom\.json")
_FILES_BESIDE_CELLS = 3  # the two tables and the marker
_CHUNK = 32  # cells generated between two reports of progress
_CELLS_FOR_PROCESSES = 500  # below, starting processes takes longer than generating
_INTENSITIES = ("intermediate", "positive")


class PhantomSource(DataSource):
    """data=phantom: cells made from random numbers, in the layout of the ICPR 2016 set."""

    is_generated: ClassVar[bool] = True

    count: PositiveInt = 1360
    """Cells, in the real set's class proportions."""
    seed: Seed = 0
    """Of the random numbers; another seed is another set."""
    duplicate_specimen: bool = False
    """One specimen occurs twice, byte for byte, as in the real set."""
    spread: NonNegative = 1.0
    """How far specimens differ in stain and optics."""

    def read(self, workers: int | None = None) -> RawCells:
        """Make the cells where they are missing, and read them as the real set."""
        with progress_bar("generating cells") as progress:
            write_phantom(
                self.folder,
                self.count,
                self.seed,
                duplicate_specimen=self.duplicate_specimen,
                spread=self.spread,
                workers=workers,
                progress=progress,
            )
        # They have the real set's layout, but not its counts to be compared with.
        raw = read_icpr2016(self.folder)
        return raw._replace(source=f"synthetic cells {self.folder}", published_counts=None)


class SyntheticCell(NamedTuple):
    """A cell as the real set would hold it.

    id: five digits from 00001. image: (h, w) grey levels. mask: (h, w) of {0, 255}.
    label: class 0..5. specimen: number from 0. intensity: 0 intermediate, 1 positive.
    """

    id: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    label: int
    specimen: int
    intensity: int


class _Chunk(NamedTuple):
    """Cells at `positions` of a specimen that `before` cells come before, bound for `folder`."""

    folder: Path
    seed: int
    specimen: Specimen
    positions: range
    before: int


def generate_cells(
    count: int, seed: int, *, duplicate_specimen: bool = False, spread: float = 1.0
) -> Iterator[SyntheticCell]:
    """Generate HEp-2 cells, ids sorted by class and contiguous by specimen.

    Classes come in the real set's proportions, specimens in its number or fewer. A cell's pixels
    depend on the seed, its specimen and its position there, never on the cells before it.

    Args:
        count: Number of cells, 1 or more.
        seed: 0 or more.
        duplicate_specimen: See `plan_specimens`.
        spread: See `plan_specimens`.

    Raises:
        Hep2ganError: At the first cell, as `plan_specimens` does.
    """
    number = 0
    for specimen in plan_specimens(
        count, seed, duplicate_specimen=duplicate_specimen, spread=spread
    ):
        yield from generate_specimen(specimen, seed, range(specimen.size), number)
        number += specimen.size


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
    """Write synthetic cells into a folder as the ICPR 2016 set lays them out.

    Files: `00001.png`, `00001_Mask.png` of {0, 255}, …; `gt_training.csv` without header (image,
    mask, class, intensity); `specimens.csv` (image, specimen), which the real set lacks; and
    `phantom.json`, which tells synthetic cells from real ones. The folder appears complete or not
    at all. Nothing is done where the same cells are already there; other synthetic cells are
    replaced.

    Args:
        root: The folder: missing, empty, or of synthetic cells.
        count: Number of cells, 1 or more.
        seed: 0 or more.
        duplicate_specimen: See `plan_specimens`.
        spread: See `plan_specimens`.
        workers: Processes; None takes one per core from 500 cells on. The pixels do not depend on
            it. Scripts that call this with more than one need `if __name__ == "__main__":`.
        progress: Called in this process with (cells done, cells in all).

    Returns:
        `root`.

    Raises:
        Hep2ganError: `root` holds anything but synthetic cells or cannot be written; and as
            `plan_specimens` does.
    """
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers={workers}", "at least 1 is needed", "leave it out")
    plan = plan_specimens(count, seed, duplicate_specimen=duplicate_specimen, spread=spread)
    marker = {
        "count": count,
        "seed": seed,
        "duplicate_specimen": duplicate_specimen,
        "spread": spread,
        "generator_version": GENERATOR_VERSION,
    }
    if is_generated(root, marker):
        return root
    check_replaceable(root, _OWN_FILES.fullmatch, MARKER, "a folder of synthetic cells")
    destination = root.resolve()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(destination):
            # Another process may have written the same while this one waited.
            if is_generated(root, marker):
                return root
            # Not synced: thousands of small files would take seconds, and can be made again.
            with atomic_folder(destination, sync=False) as folder:
                _write_tables(folder, plan)
                _write_cells(list(_chunks(folder, seed, plan)), count, workers, progress)
                (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise Hep2ganError(
            f"{root} cannot be written ({error.strerror or error})",
            "synthetic cells need a writable folder and about 10 KB each",
            "choose another folder or make room",
        ) from error
    return root


def is_generated(root: Path, marker: dict[str, Any]) -> bool:
    """Whether `root` holds exactly these synthetic cells, with no file missing."""
    try:
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = 2 * marker["count"] + _FILES_BESIDE_CELLS
    return bool(found == marker) and len(list(root.iterdir())) == files


def _chunks(folder: Path, seed: int, plan: list[Specimen]) -> Iterator[_Chunk]:
    before = 0
    for specimen in plan:
        for start in range(0, specimen.size, _CHUNK):
            positions = range(start, min(start + _CHUNK, specimen.size))
            yield _Chunk(folder, seed, specimen, positions, before)
        before += specimen.size


def _write_cells(
    chunks: list[_Chunk], count: int, workers: int | None, progress: Progress | None
) -> None:
    if workers is None:
        workers = available_cores() if count >= _CELLS_FOR_PROCESSES else 1
    if workers == 1:
        return _report_progress(map(_write_chunk, chunks), count, progress)
    # Spawned, not forked: forking a process whose libraries run threads can hang.
    number, context = min(workers, len(chunks)), get_context("spawn")
    with explain_dead_worker(), ProcessPoolExecutor(number, context, end_with_parent) as pool:
        return _report_progress(pool.map(_write_chunk, chunks), count, progress)


def _report_progress(written: Iterator[int], count: int, progress: Progress | None) -> None:
    done = 0
    for cells in written:
        done += cells
        if progress:
            progress(done, count)


def _write_chunk(chunk: _Chunk) -> int:
    """Generate and write one chunk; return its number of cells."""
    for cell in generate_specimen(chunk.specimen, chunk.seed, chunk.positions, chunk.before):
        for name, pixels in ((cell.id, cell.image), (f"{cell.id}_Mask", cell.mask)):
            Image.fromarray(pixels).save(chunk.folder / f"{name}.png", compress_level=3)
    return len(chunk.positions)


def _write_tables(folder: Path, plan: list[Specimen]) -> None:
    cells = [specimen for specimen in plan for _ in range(specimen.size)]
    classes, specimens = [], ["image,specimen"]
    for index, specimen in enumerate(cells):
        name, pattern = _cell_id(index), ICPR2016[specimen.label].name
        classes.append(f"{name}.png,{name}_Mask.png,{pattern},{_INTENSITIES[specimen.intensity]}")
        specimens.append(f"{name}.png,{specimen.number}")
    for table, lines in (("gt_training.csv", classes), ("specimens.csv", specimens)):
        (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def generate_specimen(
    specimen: Specimen, seed: int, positions: range, before: int
) -> Iterator[SyntheticCell]:
    """Generate the cells at `positions` of a specimen that `before` cells come before."""
    for position in positions:
        image, mask = _generate_cell(specimen, specimen_generator(seed, *specimen.key, 2, position))
        yield SyntheticCell(
            _cell_id(before + position),
            image,
            mask,
            specimen.label,
            specimen.number,
            specimen.intensity,
        )


def _cell_id(index: int) -> str:
    return f"{index + 1:05d}"


def _generate_cell(
    specimen: Specimen, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    scene = compose_scene(specimen, rng)
    light = blur(scene.light, sharp=specimen.sharp, halo=specimen.halo, defocus=sample_defocus(rng))
    image = expose(np.ascontiguousarray(light[scene.crop]), specimen.gain, rng)
    return image, scene.mask[scene.crop].astype(np.uint8) * np.uint8(255)
