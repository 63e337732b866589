"""Checksums: of a store's content, of the files it was made from, of one cell."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.raw import RawCells

_PIECE = 8 * 1024 * 1024


def fingerprint_of(folder: Path, classes: Sequence[str], names: Sequence[str]) -> str:
    """Hash classes and the arrays `names` of a folder as sha256 hex, a piece at a time.

    Only content counts: names, types, shapes and values, not paths, dates or worker counts.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for name in names:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        with (folder / f"{name}.npy").open("rb") as file:
            file.seek(getattr(array, "offset", 0))
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Hash a whole file as sha256 hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signature_of(raw: RawCells, settings: Mapping[str, Any]) -> str:
    """Hash what a pack depends on, without reading an image: tables, file sizes and dates.

    Folders do not count, so that a moved data set is still the same.
    """
    digest = hashlib.sha256()
    told = (raw.classes, raw.specimens, raw.problems, raw.notes, raw.published_counts)
    digest.update(json.dumps([told, dict(settings)]).encode())
    for cell in raw.cells:
        numbers = (cell.label, cell.specimen, cell.intensity, cell.part)
        files = (_seen(cell.image), _seen(cell.mask))
        digest.update(repr((cell.id, numbers, files)).encode())
    return digest.hexdigest()


def _seen(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return path.name, -1, -1
    return path.name, status.st_size, status.st_mtime_ns


def cell_digest(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]) -> bytes:
    """Hash the raw pixels of one cell to 16 bytes; image and mask are both (h, w)."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    digest.update(np.ascontiguousarray(mask).data)
    return digest.digest()
