"""Packing raw cells into a store: in parallel, whole or not at all, once."""

import json
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.raw import Problem, RawCells
from hep2gan.data.store.columns import Columns
from hep2gan.data.store.fingerprint import file_digest, fingerprint_of, signature_of
from hep2gan.data.store.pack_settings import Settings, check_cells, check_settings
from hep2gan.data.store.pack_worker import Chunk
from hep2gan.data.store.report import LIMIT, findings
from hep2gan.data.store.rows import keep_rows, reserve_rows
from hep2gan.data.store.store import COLUMNS, FILES, FORMAT, MANIFEST, SPECIMENS, VERSION, Store
from hep2gan.data.store.verified import note_whole, verify_again
from hep2gan.data.store.workers import run_chunks
from hep2gan.errors import Hep2ganError, listed
from hep2gan.replacing import exclusive, refuse_foreign, replaced

log = logging.getLogger(__name__)

CHUNK = 64
"""Cells a worker takes at a time; 2 MiB of pixels at 128 × 128."""


def pack(
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
    settings = Settings(size, on_error, white)
    check_settings(settings, workers)
    check_cells(raw)
    destination = Path(destination).resolve()
    refuse_foreign(destination, FILES, "image.npy")
    signature = signature_of(raw, {"version": VERSION, **settings._asdict()})
    if (store := _unchanged(destination, signature)) is not None:
        return store
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(destination):
            # Another process may have packed the same while this one waited.
            if (store := _unchanged(destination, signature)) is not None:
                return store
            with replaced(destination) as folder:
                columns = Columns.empty(len(raw.cells))
                _pack_pixels(raw, folder, settings, workers, columns, progress)
                _write_rest(raw, folder, settings, columns, signature)
            note_whole(destination)
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
    settings: Settings,
    workers: int | None,
    columns: Columns,
    progress: Callable[[int, int], None] | None,
) -> None:
    total, size = len(raw.cells), settings.size
    reserve_rows(folder, total, size)
    chunks = (
        Chunk(folder, first, tuple(raw.cells[first : first + CHUNK]), size, settings.white)
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
    keep_rows(folder, columns.packed)


def _problems(raw: RawCells, columns: Columns) -> list[Problem]:
    return [*raw.problems, *(columns.problems[row] for row in sorted(columns.problems))]


def _broken(raw: RawCells, problems: list[Problem]) -> Hep2ganError:
    cells = len(raw.cells) + len(raw.problems)
    fact = f"{len(problems):,} of {cells:,} cells of {raw.source} cannot be packed"
    told = listed([f"{problem.id}: {problem.reason}" for problem in problems], limit=LIMIT)
    fix = "repair these files, or leave their cells out with on_error=skip"
    return Hep2ganError(fact, "", f"{fix}:\n{told}")


def _write_rest(
    raw: RawCells, folder: Path, settings: Settings, columns: Columns, signature: str
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
        "fingerprint": fingerprint_of(folder, raw.classes, list(COLUMNS)),
        "signature": signature,
        "findings": findings(raw, arrays, _problems(raw, columns), columns.notes(settings.white)),
    }
    # Written last: a folder without it is no store.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
