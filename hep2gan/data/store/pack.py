"""Packing raw cells into a store: in parallel, whole or not at all, once."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.raw import CellError, RawCells
from hep2gan.data.store.integrity import (
    COLUMNS,
    FILES,
    FORMAT,
    MANIFEST,
    SPECIMENS,
    VERSION,
    compute_fingerprint,
    compute_signature,
    record_verified,
    verify_again,
)
from hep2gan.data.store.pack_worker import CellInfo, ChunkResult, PackChunk, run_chunks
from hep2gan.data.store.report import MAX_LISTED, pack_report
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.io import (
    atomic_folder,
    check_replaceable,
    file_digest,
    file_lock,
    with_path_in_errors,
)


@dataclass
class Columns:
    """What is known of N cells beside their pixels; see `Store` for the arrays."""

    levels: npt.NDArray[np.float32]
    crop_size: npt.NDArray[np.int64]
    digest: npt.NDArray[np.uint8]
    packed: npt.NDArray[np.bool_]
    problems: dict[int, CellError] = field(default_factory=dict)
    peak: float = 0.0
    """Largest value of all 16-bit grey files."""
    reduced: int = 0
    """Number of 16-bit colour files, read at 8 bits."""

    @classmethod
    def empty(cls, count: int) -> "Columns":
        """Make room for `count` cells."""
        return cls(
            np.zeros((count, 2), np.float32),
            np.zeros((count, 2), np.int64),
            np.zeros((count, 16), np.uint8),
            np.zeros(count, np.bool_),
        )

    def take(self, done: ChunkResult) -> None:
        """Enter what a worker found out."""
        for row, cell in enumerate(done.cells, done.first):
            if isinstance(cell, CellInfo):
                self.levels[row], self.crop_size[row] = cell.levels, cell.crop_size
                self.digest[row] = np.frombuffer(cell.digest, np.uint8)
                self.packed[row] = True
                self.peak = max(self.peak, cell.peak)
                self.reduced += cell.reduced
            else:
                self.problems[row] = cell

    def arrays(self, raw: RawCells) -> dict[str, npt.NDArray[Any]]:
        """Give all arrays of a store but image and mask, without the cells that have problems."""
        kept = np.flatnonzero(self.packed).tolist()
        cells = [raw.cells[row] for row in kept]
        return {
            "label": np.array([cell.label for cell in cells], np.int64),
            "specimen": np.array([cell.specimen for cell in cells], np.int64),
            "intensity": np.array([cell.intensity for cell in cells], np.int8),
            "part": np.array([cell.part for cell in cells], np.int8),
            "id": np.array([cell.id for cell in cells], np.str_),
            "levels": self.levels[kept],
            "crop_size": self.crop_size[kept],
            "digest": self.digest[kept],
        }

    def notes(self, white: int | None) -> list[str]:
        """Say what is odd about the files' depths."""
        notes = []
        full = white or 65535
        fitting = 2 ** int(self.peak).bit_length() - 1
        if self.peak and fitting < full:
            notes.append(
                f"16-bit images reach {self.peak:g} of {full}, so grey levels are small;"
                f" data.white={fitting} may be the camera's full scale"
            )
        if self.reduced:
            few = f"{self.reduced:,} images are 16-bit colour and were read at 8 bits"
            notes.append(f"{few}; save them as 16-bit grey to keep dim levels apart")
        return notes


class PackSettings(NamedTuple):
    """What the content of a store depends on beside its source."""

    size: int
    on_error: Literal["stop", "skip"]
    white: int | None


def check_pack_settings(settings: PackSettings, workers: int | None) -> None:
    """Raise Hep2ganError where a setting is out of range."""
    size, on_error, white = settings
    if not isinstance(size, int) or size % 16 or not 32 <= size <= 1024:
        fix = "choose 64, 96 or 128"
        raise Hep2ganError(f"size is {size}", "must be divisible by 16, from 32 to 1024", fix)
    if on_error not in ("stop", "skip"):
        raise Hep2ganError(f"on_error is {on_error!r}", "must be 'stop' or 'skip'", "choose one")
    if white is not None and (not isinstance(white, int) or white < 1):
        fix = "choose 4095 for a 12-bit camera, 65535 for 16 bits"
        raise Hep2ganError(f"white is {white}", "must be a whole number, at least 1", fix)
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers is {workers}", "must be at least 1", "leave it out")


def check_cells(raw: RawCells) -> None:
    """Raise Hep2ganError for no cells, ids that occur twice and labels without a class."""
    seen: set[str] = set()
    for cell in raw.cells:
        if cell.id in seen:
            raise Hep2ganError(f"{raw.source} has the id {cell.id} twice", "ids occur once", "")
        if not 0 <= cell.label < len(raw.classes):
            fact = f"cell {cell.id} of {raw.source} has label {cell.label}"
            raise Hep2ganError(fact, f"labels are 0 to {len(raw.classes) - 1}")
        seen.add(cell.id)
    if not seen:
        raise Hep2ganError(f"{raw.source} has no cells", "", "check data.root")


PIXELS = ("image", "mask")
_PIECE = 1024


def reserve_pixel_rows(folder: Path, count: int, size: int) -> None:
    """Create both arrays as zeros, (count, size, size). Raises when the disk has no room."""
    needed, free = 2 * count * size * size, shutil.disk_usage(folder).free
    if needed > free:
        fact = f"{folder.parent} has {free / 1e9:.2f} GB free"
        rule = f"{count:,} cells of {size} × {size} pixels take {needed / 1e9:.2f} GB"
        raise Hep2ganError(fact, rule, "free space, or choose another destination or size")
    for name in PIXELS:
        _create(folder / f"{name}.npy", count, size)


def _create(path: Path, count: int, size: int) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
    array = np.lib.format.open_memmap(path, "w+", np.dtype(np.uint8), (count, size, size))
    if hasattr(os, "posix_fallocate"):
        # Writing through a map into a hole of a file on a full disk kills the process (SIGBUS).
        with with_path_in_errors(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def keep_pixel_rows(folder: Path, kept: npt.NDArray[np.bool_]) -> None:
    """Drop the rows of cells that could not be packed; `kept` is (count,)."""
    if kept.all():
        return
    rows = np.flatnonzero(kept)
    for name in PIXELS:
        path, partial = folder / f"{name}.npy", folder / f"{name}.kept"
        old = np.load(path, mmap_mode="r")
        new = _create(partial, len(rows), old.shape[1])
        for first in range(0, len(rows), _PIECE):
            new[first : first + _PIECE] = old[rows[first : first + _PIECE]]
        new.flush()
        del old, new
        partial.replace(path)


log = logging.getLogger(__name__)

CHUNK = 64
"""Cells a worker takes at a time; 2 MiB of pixels at 128 × 128."""


def pack_cells(
    raw: RawCells,
    destination: Path,
    *,
    size: int = 128,
    on_error: Literal["stop", "skip"] = "stop",
    white: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write raw cells as a store of size × size images, or return it at once when it is there.

    A store of the same source and settings is left as it is, any other store at `destination` is
    replaced when the new one is complete. `on_error="skip"` leaves broken cells out and records
    them. `white`: see `read_image`. `workers`: processes, one per core unless given; scripts that
    call this need `if __name__ == "__main__":`. `progress(done, total)` is called in this process.
    Raises Hep2ganError with the list of all broken cells, for wrong settings, and when
    `destination` holds anything but a store.
    """
    settings = PackSettings(size, on_error, white)
    check_pack_settings(settings, workers)
    check_cells(raw)
    destination = Path(destination).resolve()
    check_replaceable(destination, FILES, "image.npy")
    signature = compute_signature(raw, {"version": VERSION, **settings._asdict()})
    if (store := _unchanged(destination, signature)) is not None:
        return store
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(destination):
            # Another process may have packed the same while this one waited.
            if (store := _unchanged(destination, signature)) is not None:
                return store
            with atomic_folder(destination) as folder:
                columns = Columns.empty(len(raw.cells))
                _pack_pixels(raw, folder, settings, workers, columns, progress)
                _write_rest(raw, folder, settings, columns, signature)
            record_verified(destination)
    except OSError as error:
        fact = f"{destination} cannot be written ({error.strerror or error})"
        raise Hep2ganError(fact, "", "free space or choose another destination") from error
    return Store.open(destination)


def _unchanged(destination: Path, signature: str) -> Store | None:
    if not (destination / MANIFEST).exists():
        return None
    try:
        store = Store.open(destination)
        verify_again(store)
    except Hep2ganError as error:
        log.warning("%s Packing it again.", error)
        return None
    if store.manifest.get("signature") == signature:
        log.info("%s is already packed", destination)
        return store
    log.info("%s was packed from other files or settings; packing it again", destination)
    return None


def _pack_pixels(
    raw: RawCells,
    folder: Path,
    settings: PackSettings,
    workers: int | None,
    columns: Columns,
    progress: Callable[[int, int], None] | None,
) -> None:
    total, size = len(raw.cells), settings.size
    reserve_pixel_rows(folder, total, size)
    chunks = (
        PackChunk(folder, first, tuple(raw.cells[first : first + CHUNK]), size, settings.white)
        for first in range(0, total, CHUNK)
    )
    count = 0
    # Closed here, so that no worker writes on after an error.
    with closing(run_chunks(chunks, total, workers)) as results:
        for done in results:
            columns.take(done)
            count += len(done.cells)
            if progress is not None:
                progress(count, total)
    problems = _problems(raw, columns)
    if problems and (settings.on_error == "stop" or not columns.packed.any()):
        raise _broken(raw, problems)
    keep_pixel_rows(folder, columns.packed)


def _problems(raw: RawCells, columns: Columns) -> list[CellError]:
    return [*raw.problems, *(columns.problems[row] for row in sorted(columns.problems))]


def _broken(raw: RawCells, problems: list[CellError]) -> Hep2ganError:
    cells = len(raw.cells) + len(raw.problems)
    fact = f"{len(problems):,} of {cells:,} cells of {raw.source} cannot be packed"
    told = bullet_list(
        [f"{problem.id}: {problem.reason}" for problem in problems], limit=MAX_LISTED
    )
    fix = "repair these files, or leave their cells out with on_error=skip"
    return Hep2ganError(fact, "", f"{fix}:\n{told}")


def _write_rest(
    raw: RawCells, folder: Path, settings: PackSettings, columns: Columns, signature: str
) -> None:
    arrays: dict[str, npt.NDArray[Any]] = columns.arrays(raw)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(array.dtype.newbyteorder("<")))
    np.save(folder / f"{SPECIMENS}.npy", np.array(raw.specimens, np.str_))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "source": raw.source,
        "cells": len(arrays["label"]),
        "size": settings.size,
        "classes": list(raw.classes),
        "specimens": len(raw.specimens),
        "specimens_sha256": file_digest(folder / f"{SPECIMENS}.npy"),
        "settings": settings._asdict(),
        "fingerprint": compute_fingerprint(folder, raw.classes, list(COLUMNS)),
        "signature": signature,
        "findings": pack_report(
            raw, arrays, _problems(raw, columns), columns.notes(settings.white)
        ),
    }
    # Written last: a folder without it is no store.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
