"""Packing raw cells into a store: in parallel, once, and complete or not at all."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
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
    record_verified,
    verify,
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

log = logging.getLogger(__name__)

CHUNK = 64
"""Cells a worker takes at a time; 2 MiB of pixels at 128 × 128."""
PIXELS = ("image", "mask")
_COPIED_ROWS = 1024

Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


def pack_cells(
    raw: RawCells,
    destination: Path,
    *,
    size: int = 128,
    on_error: Literal["stop", "skip"] = "stop",
    white_level: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Write raw cells as a store, or return the store at once when it is already there.

    A store of the same source and settings is left as it is; any other store at `destination` is
    replaced when the new one is complete.

    Args:
        raw: The cells, as a reader returns them.
        destination: Folder of the store: missing, empty, or a store.
        size: Side S of the stored images in pixels: 32 to 1024, divisible by 16.
        on_error: `stop` at broken cells, or `skip` and record them.
        white_level: Grey level shown as white in files of 16 bits and more; see `read_image`.
        workers: Processes; None takes one per core. Scripts that call this with more than one need
            `if __name__ == "__main__":`.
        progress: Called in this process with (cells done, cells in all).

    Returns:
        The opened store.

    Raises:
        Hep2ganError: Some cells are broken (all are listed), a setting is wrong, `destination`
            holds anything but a store, or it cannot be written.
    """
    settings = PackSettings(size, on_error, white_level)
    settings.check(workers)
    _check_cells(raw)
    destination = Path(destination).resolve()
    check_replaceable(destination, FILES.__contains__, "image.npy", "a store")
    signature = compute_signature(raw, {"version": VERSION, **settings._asdict()})
    if (store := _open_unchanged(destination, signature)) is not None:
        return store
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(destination):
            # Another process may have packed the same while this one waited.
            if (store := _open_unchanged(destination, signature)) is not None:
                return store
            with atomic_folder(destination) as folder:
                columns = _pack_pixels(raw, folder, settings, workers, progress)
                _write_columns(raw, folder, settings, columns, signature)
            record_verified(destination)
    except OSError as error:
        fact = f"{destination} cannot be written ({error.strerror or error})"
        raise Hep2ganError(fact, "", "free space or choose another destination") from error
    return Store.open(destination)


class PackSettings(NamedTuple):
    """What the content of a store depends on beside its source; see `pack_cells`."""

    size: int
    on_error: Literal["stop", "skip"]
    white_level: int | None

    def check(self, workers: int | None) -> None:
        """Raise Hep2ganError where a setting, or the number of workers, is out of range."""
        size, on_error, white_level = self
        if not isinstance(size, int) or size % 16 or not 32 <= size <= 1024:
            fix = "choose 64, 96 or 128"
            raise Hep2ganError(f"size is {size}", "must be divisible by 16, from 32 to 1024", fix)
        if on_error not in ("stop", "skip"):
            raise Hep2ganError(
                f"on_error is {on_error!r}", "must be 'stop' or 'skip'", "choose one"
            )
        if white_level is not None and (not isinstance(white_level, int) or white_level < 1):
            fix = "choose 4095 for a 12-bit camera, 65535 for 16 bits"
            fact = f"white_level is {white_level}"
            raise Hep2ganError(fact, "must be a whole number, at least 1", fix)
        if workers is not None and workers < 1:
            raise Hep2ganError(f"workers is {workers}", "must be at least 1", "leave it out")


def _check_cells(raw: RawCells) -> None:
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


def compute_signature(raw: RawCells, settings: Mapping[str, Any]) -> str:
    """Hash what a pack depends on, without reading an image: tables, file sizes and dates.

    Folders do not count, so that a moved data set is still the same.
    """
    digest = hashlib.sha256()
    tables = (raw.classes, raw.specimens, raw.problems, raw.notes, raw.published_counts)
    digest.update(json.dumps([tables, dict(settings)]).encode())
    for cell in raw.cells:
        numbers = (cell.label, cell.specimen, cell.intensity, cell.part)
        files = (_file_signature(cell.image), _file_signature(cell.mask))
        digest.update(repr((cell.id, numbers, files)).encode())
    return digest.hexdigest()


def _file_signature(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return path.name, -1, -1
    return path.name, status.st_size, status.st_mtime_ns


def _open_unchanged(destination: Path, signature: str) -> Store | None:
    """Open the store at `destination` if it is intact and of this signature."""
    if not (destination / MANIFEST).exists():
        return None
    try:
        store = Store.open(destination)
        verify(store, force=True)
    except Hep2ganError as error:
        log.warning("%s Packing it again.", error)
        return None
    if store.manifest.get("signature") == signature:
        log.info("%s is already packed", destination)
        return store
    log.info("%s was packed from other files or settings; packing it again", destination)
    return None


@dataclass
class CellColumns:
    """Facts about N cells beside their pixels; see `Store` for the arrays."""

    levels: npt.NDArray[np.float32]
    crop_size: npt.NDArray[np.int64]
    digest: npt.NDArray[np.uint8]
    is_packed: npt.NDArray[np.bool_]
    errors: dict[int, CellError] = field(default_factory=dict)
    peak: float = 0.0
    """Largest value of all 16-bit grey files."""
    depth_reduced: int = 0
    """Number of 16-bit colour files, read at 8 bits."""

    @classmethod
    def empty(cls, count: int) -> "CellColumns":
        """Make room for `count` cells."""
        return cls(
            np.zeros((count, 2), np.float32),
            np.zeros((count, 2), np.int64),
            np.zeros((count, 16), np.uint8),
            np.zeros(count, np.bool_),
        )

    def add(self, result: ChunkResult) -> None:
        """Enter what a worker returned."""
        for row, cell in enumerate(result.cells, result.first):
            if isinstance(cell, CellInfo):
                self.levels[row], self.crop_size[row] = cell.levels, cell.crop_size
                self.digest[row] = np.frombuffer(cell.digest, np.uint8)
                self.is_packed[row] = True
                self.peak = max(self.peak, cell.peak)
                self.depth_reduced += cell.depth_reduced
            else:
                self.errors[row] = cell

    def arrays(self, raw: RawCells) -> dict[str, npt.NDArray[Any]]:
        """Build all arrays of a store but image and mask, without the cells that have errors."""
        rows = np.flatnonzero(self.is_packed).tolist()
        cells = [raw.cells[row] for row in rows]
        return {
            "label": np.array([cell.label for cell in cells], np.int64),
            "specimen": np.array([cell.specimen for cell in cells], np.int64),
            "intensity": np.array([cell.intensity for cell in cells], np.int8),
            "part": np.array([cell.part for cell in cells], np.int8),
            "id": np.array([cell.id for cell in cells], np.str_),
            "levels": self.levels[rows],
            "crop_size": self.crop_size[rows],
            "digest": self.digest[rows],
        }

    def cell_errors(self, raw: RawCells) -> list[CellError]:
        """List the errors of the reader, then those of packing in the order of the cells."""
        return [*raw.problems, *(self.errors[row] for row in sorted(self.errors))]

    def depth_notes(self, white_level: int | None) -> list[str]:
        """Say what is odd about the files' bit depths."""
        notes = []
        full_scale = white_level or 65535
        fitting = 2 ** int(self.peak).bit_length() - 1
        if self.peak and fitting < full_scale:
            notes.append(
                f"16-bit images reach {self.peak:g} of {full_scale}, so grey levels are small;"
                f" data.white_level={fitting} may be the camera's full scale"
            )
        if self.depth_reduced:
            images = f"{self.depth_reduced:,} images are 16-bit colour and were read at 8 bits"
            notes.append(f"{images}; save them as 16-bit grey to keep dim levels apart")
        return notes


def _pack_pixels(
    raw: RawCells,
    folder: Path,
    settings: PackSettings,
    workers: int | None,
    progress: Progress | None,
) -> CellColumns:
    """Write image.npy and mask.npy; return what was learned about the cells."""
    total, size = len(raw.cells), settings.size
    columns = CellColumns.empty(total)
    reserve_pixel_rows(folder, total, size)
    chunks = (
        PackChunk(
            folder, first, tuple(raw.cells[first : first + CHUNK]), size, settings.white_level
        )
        for first in range(0, total, CHUNK)
    )
    done = 0
    # Closed here, so that no worker goes on writing after an error.
    with closing(run_chunks(chunks, total, workers)) as results:
        for result in results:
            columns.add(result)
            done += len(result.cells)
            if progress is not None:
                progress(done, total)
    errors = columns.cell_errors(raw)
    if errors and (settings.on_error == "stop" or not columns.is_packed.any()):
        raise _broken_cells(raw, errors)
    _drop_unpacked_rows(folder, columns.is_packed)
    return columns


def _broken_cells(raw: RawCells, errors: list[CellError]) -> Hep2ganError:
    cells = len(raw.cells) + len(raw.problems)
    fact = f"{len(errors):,} of {cells:,} cells of {raw.source} cannot be packed"
    details = bullet_list([f"{error.id}: {error.reason}" for error in errors], limit=MAX_LISTED)
    fix = "repair these files, or leave their cells out with on_error=skip"
    return Hep2ganError(fact, "", f"{fix}:\n{details}")


def reserve_pixel_rows(folder: Path, count: int, size: int) -> None:
    """Create both arrays as zeros, (count, size, size). Raises when the disk has no room."""
    needed, free = 2 * count * size * size, shutil.disk_usage(folder).free
    if needed > free:
        fact = f"{folder.parent} has {free / 1e9:.2f} GB free"
        rule = f"{count:,} cells of {size} × {size} pixels take {needed / 1e9:.2f} GB"
        raise Hep2ganError(fact, rule, "free space, or choose another destination or size")
    for name in PIXELS:
        _create_array(folder / f"{name}.npy", count, size)


def _create_array(
    path: Path, count: int, size: int
) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
    array = np.lib.format.open_memmap(path, "w+", np.dtype(np.uint8), (count, size, size))
    if hasattr(os, "posix_fallocate"):
        # Writing through a map into a hole of a file on a full disk kills the process (SIGBUS).
        with with_path_in_errors(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _drop_unpacked_rows(folder: Path, is_packed: npt.NDArray[np.bool_]) -> None:
    """Rewrite both arrays without the rows of cells that could not be packed."""
    if is_packed.all():
        return
    rows = np.flatnonzero(is_packed)
    for name in PIXELS:
        path, partial = folder / f"{name}.npy", folder / f"{name}.kept"
        old = np.load(path, mmap_mode="r")
        new = _create_array(partial, len(rows), old.shape[1])
        for first in range(0, len(rows), _COPIED_ROWS):
            new[first : first + _COPIED_ROWS] = old[rows[first : first + _COPIED_ROWS]]
        new.flush()
        del old, new
        partial.replace(path)


def _write_columns(
    raw: RawCells, folder: Path, settings: PackSettings, columns: CellColumns, signature: str
) -> None:
    """Write the small arrays, then the manifest that makes the folder a store."""
    arrays = columns.arrays(raw)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(array.dtype.newbyteorder("<")))
    np.save(folder / f"{SPECIMENS}.npy", np.array(raw.specimens, np.str_))
    notes = columns.depth_notes(settings.white_level)
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
        "findings": pack_report(raw, arrays, columns.cell_errors(raw), notes),
    }
    # Written last: a folder without it is no store.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
