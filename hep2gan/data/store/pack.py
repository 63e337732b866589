"""Packing raw cells into a store: in parallel, once, and complete or not at all."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.image import LOSSY_SUFFIXES
from hep2gan.data.readers.source import CellError, PackSettings, RawCell, RawCells
from hep2gan.data.store.integrity import (
    FILES,
    FORMAT,
    MANIFEST,
    SPECIMENS,
    VERSION,
    column_names,
    compute_fingerprint,
    record_verified,
    verify,
)
from hep2gan.data.store.pack_worker import (
    CellInfo,
    PackChunk,
    PackedCell,
    pack_chunk,
    run_chunks,
)
from hep2gan.data.store.plausibility import (
    Oddity,
    advice,
    compare_sample,
    find_identical_masks,
)
from hep2gan.data.store.report import MAX_LISTED, list_oddities, oddity_lines, pack_report
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.io import (
    Progress,
    atomic_folder,
    available_cores,
    check_replaceable,
    file_digest,
    file_lock,
    with_path_in_errors,
)

log = logging.getLogger(__name__)

CHUNK = 64
"""Cells a worker takes at a time; 2 MiB of pixels at 128 × 128."""
_MAX_CHUNK = 512
"""Cells of one field that one worker takes: a larger field is read again."""
_COPIED_ROWS = 1024
_CELLS_PER_PROCESS = 512
"""Below this number of cells, starting another process takes longer than it saves."""

_MOST_SINGLE = 20
"""Equal errors that are listed one by one even if most cells have them."""


def pack_cells(
    raw: RawCells,
    destination: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Store:
    """Write raw cells as a store, or return at once the store that is already there.

    A store of the same source and settings is kept; any other store at `destination` is replaced
    when the new one is complete.

    Args:
        raw: The cells, as a reader returns them.
        destination: Folder of the store: missing, empty, or a store.
        workers: Number of processes; None takes one per core. Scripts that call this with more than
            one need `if __name__ == "__main__":`.
        progress: Called in this process with (cells done, cells in all).
        settings: Those of `PackSettings`.

    Returns:
        The opened store.

    Raises:
        Hep2ganError: Cells are damaged or implausible (all are listed), a setting is wrong,
            `destination` holds anything but a store, or it cannot be written.
    """
    chosen = PackSettings(**settings)
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers is {workers}", "must be at least 1", "leave it out")
    raw = _separate_unmasked(raw, chosen)
    _check_cells(raw)
    destination = Path(destination).resolve()
    check_replaceable(destination, FILES.__contains__, "image.npy", "a store")
    signature = compute_signature(raw, {"version": VERSION, **chosen.model_dump()})
    if (store := _open_unchanged(destination, signature, quiet=True)) is not None:
        return store
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(destination):
            # Another process may have packed the same while this one waited.
            if (store := _open_unchanged(destination, signature)) is not None:
                return store
            with atomic_folder(destination) as folder:
                packed = _pack_pixels(raw, folder, chosen, workers, progress)
                oddities = _find_oddities(raw, folder, packed)
                if not chosen.keep_implausible:
                    _require_decided(raw, oddities)
                _write_columns(raw, folder, chosen, packed, signature, oddities)
            record_verified(destination)
    except OSError as error:
        raise Hep2ganError(
            f"{destination} cannot be written ({error.strerror or error})",
            "",
            "free space or choose another destination",
        ) from error
    return Store.open(destination)


def _separate_unmasked(raw: RawCells, settings: PackSettings) -> RawCells:
    """Refuse a set in which only some cells have masks, or leave the others out."""
    without = [cell.id for cell in raw.cells if cell.mask is None] if raw.has_masks else []
    if not without:
        return raw
    if settings.on_error == "stop":
        what = Oddity(f"of {len(raw.cells):,} cells have no mask", without)
        raise Hep2ganError(
            f"{raw.source}: {oddity_lines(list_oddities([what]))[0]}",
            "a data set has a mask for each cell or for none",
            "add the missing masks, leave these cells out with data.on_error=skip, or pack the"
            " images alone with data.masks=false",
        )
    return raw._replace(
        cells=[cell for cell in raw.cells if cell.mask is not None],
        problems=(*raw.problems, *(CellError(cell, "has no mask") for cell in without)),
    )


def _check_cells(raw: RawCells) -> None:
    """Raise if there are no cells, or if an id occurs twice or a label has no class."""
    seen: set[str] = set()
    for cell in raw.cells:
        if cell.id in seen:
            raise Hep2ganError(f"{raw.source} has the id {cell.id} twice", "ids occur once")
        if not 0 <= cell.label < len(raw.classes):
            raise Hep2ganError(
                f"cell {cell.id} of {raw.source} has label {cell.label}",
                f"labels are 0 to {len(raw.classes) - 1}",
            )
        seen.add(cell.id)
    if not seen:
        raise Hep2ganError(f"{raw.source} has no cells", "", "check data.root")


def compute_signature(raw: RawCells, settings: Mapping[str, Any]) -> str:
    """Hash what a pack depends on, without reading images: tables, file sizes and dates.

    Folders do not count, so that a data set can be moved.

    Args:
        raw: The cells, as a reader returns them.
        settings: What else the pack depends on; JSON can hold it.

    Returns:
        The SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    tables = (raw.classes, raw.specimens, raw.problems, raw.notes, raw.published_counts)
    digest.update(json.dumps([tables, dict(settings)]).encode())
    for cell in raw.cells:
        numbers = (cell.label, cell.specimen, cell.intensity, cell.part)
        files = (_file_signature(cell.image), _file_signature(cell.mask))
        digest.update(repr((cell.id, numbers, files, cell.region)).encode())
    return digest.hexdigest()


def _file_signature(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except (OSError, ValueError):
        return path.name, -1, -1
    return path.name, status.st_size, status.st_mtime_ns


def _open_unchanged(destination: Path, signature: str, quiet: bool = False) -> Store | None:
    """Open the store at `destination` if it is intact and of this signature; else tell why not."""
    if not (destination / MANIFEST).exists():
        return None
    try:
        store = Store.open(destination)
        verify(store, force=True)
    except Hep2ganError as error:
        if not quiet:
            log.warning("%s Packing it again.", error)
        return None
    if store.manifest.get("signature") == signature:
        log.info("%s is already packed", destination)
        return store
    if not quiet:
        log.info("%s was packed from other files or settings; packing it again", destination)
    return None


def _columns(raw: RawCells, packed: list[PackedCell]) -> dict[str, npt.NDArray[Any]]:
    """Build all arrays of a store except image and mask, without the cells that have errors."""
    infos = [info for info in packed if isinstance(info, CellInfo)]
    cells = [
        cell for cell, info in zip(raw.cells, packed, strict=True) if isinstance(info, CellInfo)
    ]
    return {
        "label": np.array([cell.label for cell in cells], np.int64),
        "specimen": np.array([cell.specimen for cell in cells], np.int64),
        "intensity": np.array([cell.intensity for cell in cells], np.int8),
        "part": np.array([cell.part for cell in cells], np.int8),
        "id": np.array([cell.id for cell in cells], np.str_),
        "levels": np.array([info.levels for info in infos], np.float32),
        "crop_size": np.array([info.crop_size for info in infos], np.int64),
        "digest": np.frombuffer(b"".join(info.digest for info in infos), np.uint8).reshape(
            len(infos), -1
        ),
    }


def _measure_nuclei(packed: list[PackedCell]) -> dict[str, float] | None:
    """Measure the masks, see `Store.crop_geometry`; None without any."""
    infos = [info for info in packed if isinstance(info, CellInfo) and info.margins]
    if not infos:
        return None
    return {
        "margin": float(np.median([info.margins for info in infos])),
        "diameter": float(np.median([info.nucleus for info in infos])),
    }


def _cell_errors(raw: RawCells, packed: list[PackedCell]) -> list[CellError]:
    """List the errors of the reader, then those of packing in the order of the cells."""
    return [*raw.problems, *(cell for cell in packed if isinstance(cell, CellError))]


def _depth_notes(packed: list[PackedCell], white_level: int | None) -> list[str]:
    """Describe what is unusual about the bit depths of the files."""
    infos = [info for info in packed if isinstance(info, CellInfo)]
    notes = []
    full_scale, peak = white_level or 65535, max(info.peak for info in infos)
    fitting = 2 ** int(peak).bit_length() - 1
    if peak and fitting < full_scale:
        notes.append(
            f"16-bit images reach {peak:g} of {full_scale}, so grey levels are small;"
            f" data.white_level={fitting} may be the camera's full scale"
        )
    return notes


def _lossy_notes(raw: RawCells) -> list[str]:
    files = {cell.image for cell in raw.cells}
    lossy = sum(file.suffix.lower() in LOSSY_SUFFIXES for file in files)
    note = f"{pluralize(lossy, 'JPEG file')}: lossy, so fine textures are not the camera's"
    return [note] if lossy else []


def _pack_pixels(
    raw: RawCells,
    folder: Path,
    settings: PackSettings,
    workers: int | None,
    progress: Progress | None,
) -> list[PackedCell]:
    """Write image.npy and mask.npy; return the facts or the error of each cell."""
    total, size = len(raw.cells), settings.size
    names = ["image", "mask"] if raw.has_masks else ["image"]
    reserve_pixel_rows(folder, total, size, names)
    chunks = (PackChunk(folder, first, cells, settings) for first, cells in split_cells(raw.cells))
    count = workers or min(available_cores(), math.ceil(total / _CELLS_PER_PROCESS))
    packed: list[PackedCell] = []
    # Closed here, so that no worker continues to write after an error.
    with closing(run_chunks(pack_chunk, chunks, count)) as results:
        for result in results:
            packed += result
            if progress is not None:
                progress(len(packed), total)
    errors = _cell_errors(raw, packed)
    rows = np.array([row for row, cell in enumerate(packed) if isinstance(cell, CellInfo)], int)
    if errors and (settings.on_error == "stop" or not len(rows)):
        details = bullet_list(_error_lines(raw, errors), MAX_LISTED)
        skip = ", or leave their cells out with data.on_error=skip" if len(rows) else ""
        others = advice([error.reason for error in errors], settings.invert_masks)
        raise Hep2ganError(
            f"{len(errors):,} of {total + len(raw.problems):,} cells of {raw.source}"
            " cannot be packed",
            "",
            f"repair these files{skip}{others}:\n{details}",
        )
    if len(rows) < total:
        _keep_rows(folder, rows, names)
    return packed


def split_cells(cells: Sequence[RawCell]) -> Iterator[tuple[int, tuple[RawCell, ...]]]:
    """Split cells into chunks that share no field, so that each field is read once.

    Args:
        cells: The cells; those of a field follow each other.

    Yields:
        Position of the first cell, and the cells: `CHUNK` or more, up to the end of their field,
        but never more than `_MAX_CHUNK`.
    """
    first = 0
    for end in range(1, len(cells) + 1):
        is_last = end == len(cells)
        is_split = not is_last and cells[end].image == cells[end - 1].image
        if is_last or end - first >= (_MAX_CHUNK if is_split else CHUNK):
            yield first, tuple(cells[first:end])
            first = end


def _error_lines(raw: RawCells, errors: Sequence[CellError]) -> list[str]:
    """List the errors; one that most cells have in common is one line, with the first cells."""
    files = {cell.id: (str(cell.image), str(cell.mask)) for cell in raw.cells}
    alike: dict[str, list[CellError]] = {}
    for error in errors:
        reason = error.reason
        for name in (*files.get(error.id, ()), error.id):
            reason = reason.replace(name, "#")
        alike.setdefault(re.sub(r"\d[\d., ]*", "#", reason), []).append(error)
    lines = []
    for group in alike.values():
        is_one = len({error.reason for error in group}) == 1 < len(group)  # that of their field
        if is_one or (len(group) > _MOST_SINGLE and 2 * len(group) > len(raw.cells)):
            first = ", ".join(error.id for error in group[:5])
            shown = f"{first}, …" if len(group) > 5 else first
            example = group[0].reason if is_one else f"e.g. {group[0].reason}"
            lines.append(f"{len(group):,} cells ({shown}), {example}")
        else:
            lines += [f"{error.id}: {error.reason}" for error in group]
    return lines


def _find_oddities(raw: RawCells, folder: Path, packed: list[PackedCell]) -> list[Oddity]:
    """Find what was decided about masks and what is odd about them, in single cells and in all."""
    if not raw.has_masks:
        return []
    infos = {
        cell.id: info
        for cell, info in zip(raw.cells, packed, strict=True)
        if isinstance(info, CellInfo)
    }
    ids, remarks = list(infos), defaultdict(list)
    for cell_id, info in infos.items():
        for remark in info.remarks:
            remarks[remark].append(cell_id)
    masks = [(info.mask_checksum, info.crop_size) for info in infos.values()]
    return [
        *(Oddity(remark, found) for remark, found in remarks.items()),
        *find_identical_masks(ids, masks, [info.digest for info in infos.values()]),
        *compare_sample(folder, ids),
    ]


def _require_decided(raw: RawCells, oddities: Sequence[Oddity]) -> None:
    """Raise if the masks of the set do not follow its images."""
    if stopping := [oddity for oddity in oddities if oddity.stops]:
        raise Hep2ganError(
            f"{raw.source}: {'; '.join(oddity_lines(list_oddities(stopping)))}",
            "a mask shows the nucleus of its own image",
            "export images and masks again in the same way, or pack them as they are with"
            " data.keep_implausible=true",
        )


def reserve_pixel_rows(folder: Path, count: int, size: int, names: Sequence[str]) -> None:
    """Create arrays of pixels as zeros, with their space on the disk reserved.

    Args:
        folder: Folder of the store.
        count: Number of cells.
        size: Side of the stored images in pixels.
        names: Names of the arrays.

    Raises:
        Hep2ganError: The disk has too little free space.
    """
    needed, free = len(names) * count * size * size, shutil.disk_usage(folder).free
    if needed > free:
        raise Hep2ganError(
            f"{folder.parent} has {free / 1e9:.2f} GB free",
            f"{count:,} cells of {size} × {size} pixels take {needed / 1e9:.2f} GB",
            "free space, or choose another destination or size",
        )
    for name in names:
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


def _keep_rows(folder: Path, rows: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    """Rewrite the arrays with these rows alone, those of the cells that were packed."""
    for name in names:
        path, partial = folder / f"{name}.npy", folder / f"{name}.kept"
        old = np.load(path, mmap_mode="r")
        new = _create_array(partial, len(rows), old.shape[1])
        for first in range(0, len(rows), _COPIED_ROWS):
            new[first : first + _COPIED_ROWS] = old[rows[first : first + _COPIED_ROWS]]
        new.flush()
        del old, new
        partial.replace(path)


def _write_columns(
    raw: RawCells,
    folder: Path,
    settings: PackSettings,
    packed: list[PackedCell],
    signature: str,
    oddities: Sequence[Oddity],
) -> None:
    """Write the small arrays, then the manifest that makes the folder a store."""
    arrays = _columns(raw, packed)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(array.dtype.newbyteorder("<")))
    np.save(folder / f"{SPECIMENS}.npy", np.array(raw.specimens, np.str_))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "source": raw.source,
        "cells": len(arrays["label"]),
        "size": settings.size,
        "masks": raw.has_masks,
        "classes": list(raw.classes),
        "specimens": len(raw.specimens),
        "specimens_sha256": file_digest(folder / f"{SPECIMENS}.npy"),
        "settings": settings.model_dump(),
        "fingerprint": compute_fingerprint(folder, raw.classes, column_names(raw.has_masks)),
        "signature": signature,
        "nuclei": _measure_nuclei(packed),
        "findings": pack_report(
            raw,
            arrays,
            _cell_errors(raw, packed),
            [*_depth_notes(packed, settings.white_level), *_lossy_notes(raw)],
            oddities,
        ),
    }
    # Written last: a folder without it is no store.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
