"""Mapped files that are cut off while they are read, which would end the process (SIGBUS)."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.raw import RawCells
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write, read_json

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


class FileSizeGuard:
    """Files that must stay as long as they are now; a look takes half a microsecond a file.

    They are held open, so that it is these that are looked at: others that take their names, and
    their deletion, do no harm to what is mapped.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._held: list[BinaryIO] = []
        for path in paths:
            with suppress(OSError):
                self._held.append(path.open("rb", buffering=0))
        self._sizes = [(file.fileno(), os.fstat(file.fileno()).st_size) for file in self._held]

    def require(self) -> None:
        """Raise Hep2ganError where a file was cut off; call before reading from the map."""
        for place, (descriptor, size) in enumerate(self._sizes):
            if (now := os.fstat(descriptor).st_size) < size:
                path = Path(self._held[place].name)
                raise Hep2ganError(
                    f"{path} was cut off while the run used it: {size:,} bytes are now {now:,}",
                    "a run has one store; the checkpoints before are of the whole one",
                    f"restore {path.parent} (pack it again from the same cells), and give the same"
                    " command again: the run goes on from its last checkpoint",
                )

    def __del__(self) -> None:
        for file in getattr(self, "_held", []):
            file.close()


_PIECE = 8 * 1024 * 1024


def compute_fingerprint(folder: Path, classes: Sequence[str], names: Sequence[str]) -> str:
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


def compute_signature(raw: RawCells, settings: Mapping[str, Any]) -> str:
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


MANIFEST = "manifest.json"
NOTE = "verified.json"
FORMAT = "hep2gan-store"
VERSION = 1
COLUMNS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "image": ("|u1", ("S", "S")),
    "mask": ("|u1", ("S", "S")),
    "label": ("<i8", ()),
    "specimen": ("<i8", ()),
    "levels": ("<f4", (2,)),
    "crop_size": ("<i8", (2,)),
    "intensity": ("|i1", ()),
    "part": ("|i1", ()),
    "digest": ("|u1", (16,)),
    "id": ("<U", ()),
}
SPECIMENS = "specimens"
FILES = frozenset({MANIFEST, NOTE, f"{SPECIMENS}.npy", *(f"{name}.npy" for name in COLUMNS)})


def find_wrong_values(store: "Store") -> list[str]:
    """Say which arrays hold values outside their range; reads them all. See `Store` for ranges."""
    specimens = len(store.specimen_names)
    wrong = {
        "label": _outside(store.label, 0, len(store.classes) - 1),
        "mask": _outside(store.mask, 0, 1),
        "specimen": _outside(store.specimen, -1, specimens - 1),
        "intensity": _outside(store.intensity, -1, 1),
        "part": _outside(store.part, -1, 2),
        "crop_size": bool((store.crop_size < 1).any()),
        "levels": not np.isfinite(store.levels).all() or bool(np.diff(store.levels).min() < 0),
        "id": len(np.unique(store.id)) < len(store),
    }
    return [f"{name}.npy holds values that mean nothing" for name, found in wrong.items() if found]


def _outside(array: np.ndarray, low: int, high: int) -> bool:
    return int(array.min()) < low or int(array.max()) > high


_States = dict[str, list[int]]


def verify_once(store: "Store") -> None:
    """`Store.verify`, unless these very files were found whole before; then it reads none of them.

    They are the same while each has its inode, size and times of the last writing and of the last
    change, which no ordinary program sets back. A store that was copied, restored or
    written to is read anew. What a disk loses without a writing is found by `verify_again` alone.

    Raises Hep2ganError when the content is not what was packed.
    """
    states = _states(store.path)
    if _noted(store.path) != states or not _older(states, store.path / NOTE):
        verify_again(store)


def verify_again(store: "Store") -> None:
    """Read the whole store, and note that it was found whole; a damaged one loses its note.

    Raises Hep2ganError when the content is not what was packed.
    """
    # Taken before, so that what changes meanwhile is not taken for what was read.
    before = _states(store.path)
    with suppress(OSError):
        (store.path / NOTE).unlink(missing_ok=True)
    store.verify()
    _write(store.path, before)


def record_verified(folder: Path) -> None:
    """Note that the files of a store are whole, as they are when it has just been packed."""
    _write(folder, _states(folder))


def _states(folder: Path) -> _States:
    states = {}
    for name in sorted(FILES - {NOTE}):
        with suppress(FileNotFoundError):
            found = (folder / name).stat()
            states[name] = [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return states


def _older(states: _States, note: Path) -> bool:
    """Whether the files' last change came before the note's clock tick; a later one shows."""
    with suppress(FileNotFoundError):
        return max(changed for *_, changed in states.values()) < note.stat().st_mtime_ns
    return False


def _noted(folder: Path) -> object:
    with suppress(ValueError):
        return read_json(folder / NOTE).get("files")
    return None


def _write(folder: Path, states: _States) -> None:
    # Where nothing can be written, the store is read whole at every start.
    with suppress(OSError):
        atomic_write(folder / NOTE, json.dumps({"files": states}, indent=1) + "\n")
