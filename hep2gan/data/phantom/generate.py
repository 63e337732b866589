"""Drawn cells, one after the other."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom.scene import blur, compose, expose, sample_defocus
from hep2gan.data.phantom.specimens import Specimen, plan_specimens, specimen_generator
from hep2gan.data.store.pack_worker import end_with_parent
from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels than before."""


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


def generate_cells(
    count: int, seed: int, *, duplicate_specimen: bool = False, spread: float = 1.0
) -> Iterator[SyntheticCell]:
    """Draw `count` HEp-2 cells, ids sorted by class and contiguous by specimen.

    Classes come in the real set's proportions, specimens in its number or fewer. A cell's
    pixels depend on the seed, its specimen and its place there, never on the cells before it.
    `duplicate_specimen`, `spread` and errors, at the first cell, as in `plan_specimens`.
    """
    number = 0
    for specimen in plan_specimens(
        count, seed, duplicate_specimen=duplicate_specimen, spread=spread
    ):
        yield from generate_specimen(specimen, seed, range(specimen.size), number)
        number += specimen.size


def generate_specimen(
    specimen: Specimen, seed: int, places: range, before: int
) -> Iterator[SyntheticCell]:
    """Draw the cells at `places` of a specimen that `before` cells come before."""
    for place in places:
        image, mask = _generate_cell(specimen, specimen_generator(seed, *specimen.key, 2, place))
        yield SyntheticCell(
            synthetic_cell_id(before + place),
            image,
            mask,
            specimen.label,
            specimen.number,
            specimen.intensity,
        )


def synthetic_cell_id(place: int) -> str:
    """Id of the cell at a place from 0 on: 00001 and so on."""
    return f"{place + 1:05d}"


def _generate_cell(
    specimen: Specimen, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    scene = compose(specimen, rng)
    light = blur(scene.light, sharp=specimen.sharp, halo=specimen.halo, defocus=sample_defocus(rng))
    image = expose(np.ascontiguousarray(light[scene.crop]), specimen.gain, rng)
    return image, scene.mask[scene.crop].astype(np.uint8) * np.uint8(255)


MARKER = "phantom.json"
_OURS = re.compile(r"\d{5,}(_Mask)?\.png|gt_training\.csv|specimens\.csv|phantom\.json")
_NOT_CELLS = 3  # the two tables and the marker


@dataclass(frozen=True)
class PhantomSettings:
    """All that the pixels depend on."""

    count: int
    seed: int
    duplicate_specimen: bool
    spread: float
    drawing_version: int = GENERATOR_VERSION


def is_generated(root: Path, settings: PhantomSettings) -> bool:
    """Whether `root` holds exactly these drawn cells, with no file missing."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return marker == asdict(settings) and _files(root) == 2 * settings.count + _NOT_CELLS


def _files(root: Path) -> int:
    with os.scandir(root) as entries:
        return sum(1 for _ in entries)


def check_folder_replaceable(root: Path) -> None:
    """Raise Hep2ganError unless `root` is missing, empty, or nothing but drawn cells."""
    if not root.exists():
        return
    if not root.is_dir():
        raise Hep2ganError(
            f"{root} is a file", "drawn cells are written to a folder", "name a new folder"
        )
    names = sorted(entry.name for entry in root.iterdir())
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if names and MARKER not in names:
        foreign = foreign or names
    if foreign:
        raise Hep2ganError(
            f"{root} holds {foreign[0]}, which wasn't drawn",
            "only a folder of nothing but drawn cells is overwritten",
            "name a new folder",
        )


@contextmanager
def replace_folder(root: Path, settings: PhantomSettings) -> Iterator[Path]:
    """Give a new folder beside `root` that takes its place at the end, marked with `settings`.

    On any error or interrupt the new folder goes and `root` stays as it was.
    """
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(root)
    folder.mkdir()
    try:
        yield folder
        (folder / MARKER).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")
        _swap(folder, root, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, root: Path, settings: PhantomSettings) -> None:
    if is_generated(root, settings):
        return  # another process was faster
    check_folder_replaceable(root)
    old = _beside(root)
    if root.exists():
        root.rename(old)
    folder.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _beside(root: Path) -> Path:
    return root.with_name(f".{root.name}.{uuid4().hex[:8]}")


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
    settings = PhantomSettings(count, seed, duplicate_specimen, spread)
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers={workers}", "at least 1 is needed", "leave it out")
    plan = plan_specimens(count, seed, duplicate_specimen=duplicate_specimen, spread=spread)
    if is_generated(root, settings):
        return root
    check_folder_replaceable(root)
    try:
        with replace_folder(root, settings) as folder:
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
        workers = available_cores() if count >= _WORTHWHILE else 1
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
    for cell in generate_specimen(chunk.specimen, chunk.seed, chunk.places, chunk.before):
        _write_png(chunk.folder / f"{cell.id}.png", cell.image)
        _write_png(chunk.folder / f"{cell.id}_Mask.png", cell.mask)
    return len(chunk.places)


def _write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, compress_level=3)


def _write_tables(folder: Path, plan: list[Specimen]) -> None:
    cells = [specimen for specimen in plan for _ in range(specimen.size)]
    truth, origin = [], ["image,specimen"]
    for place, specimen in enumerate(cells):
        name, pattern = synthetic_cell_id(place), ICPR2016[specimen.label].name
        truth.append(f"{name}.png,{name}_Mask.png,{pattern},{_INTENSITIES[specimen.intensity]}")
        origin.append(f"{name}.png,{specimen.number}")
    for table, lines in (("gt_training.csv", truth), ("specimens.csv", origin)):
        (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
