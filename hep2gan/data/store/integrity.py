"""Integrity of a packed store: its format, fingerprint, value checks and truncation guard.

A store is damaged if its content is not what was packed. `verify` reads all of it, and again only
after its files have changed; while a run reads the mapped files, `FileSizeGuard` checks that they
were not truncated: reading what is no longer there ends a process (SIGBUS).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write, file_digest, read_json

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store

FORMAT = "hep2gan-store"
VERSION = 5
"""Increased when packing the same source gives another store; older stores are then repacked."""
MANIFEST = "manifest.json"
VERIFIED = "verified.json"
"""States of the files that were last found intact, see `verify`; not part of the content."""
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
"""Type and shape per cell of each array; S is the stored size, ids are as wide as the longest.

A store of a set without masks has no `mask`, see `column_names`.
"""
SPECIMENS = "specimens"
FILES = frozenset({MANIFEST, VERIFIED, f"{SPECIMENS}.npy", *(f"{name}.npy" for name in COLUMNS)})

_READ_BYTES = 8 * 1024 * 1024
_FileStates = dict[str, list[int]]


def column_names(has_masks: bool) -> list[str]:
    """Name the arrays of a store with or without masks, in the order of its fingerprint.

    Args:
        has_masks: Whether its cells have masks.

    Returns:
        Names of `COLUMNS`.
    """
    return [name for name in COLUMNS if has_masks or name != "mask"]


def damaged_store(path: Path, reason: str) -> Hep2ganError:
    """Make the error that a store is damaged.

    Args:
        path: Folder of the store.
        reason: Why it is damaged.

    Returns:
        The error.
    """
    return Hep2ganError(f"the store {path} is damaged ({reason})", "", "run hep2gan-pack again")


def verify(store: "Store", *, force: bool = False) -> None:
    """Compare the content of a store with what was packed, and record that it is intact.

    Files that were found intact before are not read again while each keeps its inode, size, and
    times of last modification and last status change, which no ordinary program sets back. A store
    that was copied, restored or written to is read again.

    Args:
        store: The opened store.
        force: Read all of it in any case: a disk can lose content without a write.

    Raises:
        Hep2ganError: The content is not what was packed; its record is then removed.
    """
    store, record = store.for_target("pattern"), store.path / VERIFIED
    # Read before the content, so that a change in the meantime is not recorded as verified.
    states = _file_states(store.path)
    if not force and _is_recorded(states, record):
        return
    with suppress(OSError):
        record.unlink(missing_ok=True)
    check_content(store)
    record_verified(store.path, states)


def record_verified(folder: Path, states: _FileStates | None = None) -> None:
    """Record that the files of a store are intact.

    If the record cannot be written, the store is read at every start.

    Args:
        folder: Folder of the store.
        states: States of the files that were found intact; None for those of now, for a store that
            has just been packed.
    """
    with suppress(OSError):
        text = json.dumps({"files": states or _file_states(folder)}, indent=1)
        atomic_write(folder / VERIFIED, text + "\n")


def check_content(store: "Store") -> None:
    """Read every array and compare it with what was packed.

    Args:
        store: The opened store.

    Raises:
        Hep2ganError: The content is not what was packed.
    """
    names = column_names(store.has_masks)
    if compute_fingerprint(store.path, store.classes, names) != store.fingerprint:
        raise damaged_store(store.path, "the fingerprint of its content differs")
    # The fingerprint covers the cells alone; the names of specimens have their own checksum.
    checksum = store.manifest.get("specimens_sha256")
    if checksum is not None and file_digest(store.path / f"{SPECIMENS}.npy") != checksum:
        raise damaged_store(store.path, f"{SPECIMENS}.npy has changed since it was written")
    if problems := invalid_columns(store):
        raise damaged_store(store.path, "; ".join(problems))


def invalid_columns(store: "Store") -> list[str]:
    """Find the arrays with values out of the ranges of `Store`; reads all of them but the images.

    Args:
        store: The opened store.

    Returns:
        One message for each of them.
    """
    is_invalid = {
        "label": _out_of_range(store.label, 0, len(store.classes) - 1),
        "mask": store.mask is not None and _out_of_range(store.mask, 0, 1),
        "specimen": _out_of_range(store.specimen, -1, len(store.specimen_names) - 1),
        "intensity": _out_of_range(store.intensity, -1, 1),
        "part": _out_of_range(store.part, -1, 2),
        "crop_size": bool((store.crop_size < 1).any()),
        "levels": not np.isfinite(store.levels).all() or bool(np.diff(store.levels).min() < 0),
        "id": len(np.unique(store.id)) < len(store),
    }
    return [f"{name}.npy holds invalid values" for name, invalid in is_invalid.items() if invalid]


def _out_of_range(array: np.ndarray, low: int, high: int) -> bool:
    return int(array.min()) < low or int(array.max()) > high


def _file_states(folder: Path) -> _FileStates:
    states = {}
    for name in sorted(FILES - {VERIFIED}):
        with suppress(FileNotFoundError):
            s = (folder / name).stat()
            states[name] = [s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
    return states


def _is_recorded(states: _FileStates, record: Path) -> bool:
    """Tell whether the files were found intact in these states.

    They must have changed before the record's clock tick: a later change has another time.
    """
    with suppress(ValueError, FileNotFoundError):
        is_same = read_json(record).get("files") == states
        last_change = max(changed for *_, changed in states.values())
        return is_same and last_change < record.stat().st_mtime_ns
    return False


def compute_fingerprint(folder: Path, classes: Sequence[str], names: Sequence[str]) -> str:
    """Hash classes and arrays, piece by piece.

    Only content counts: names, types, shapes and values, not paths, dates or numbers of workers.

    Args:
        folder: Folder of the store.
        classes: Names of the classes.
        names: Names of the arrays.

    Returns:
        The SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for name in names:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        with (folder / f"{name}.npy").open("rb") as file:
            file.seek(getattr(array, "offset", 0))
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
    return digest.hexdigest()


class FileSizeGuard:
    """Checks that files stay at least as long as they are now; takes half a microsecond a file.

    The files are kept open, so that exactly the mapped files are checked: deleting or replacing
    them by name does not affect the map.

    Args:
        paths: The files; those that cannot be opened are left out.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._files: list[BinaryIO] = []
        for path in paths:
            with suppress(OSError):
                self._files.append(path.open("rb", buffering=0))
        self._sizes = [(file.fileno(), os.fstat(file.fileno()).st_size) for file in self._files]

    def check(self) -> None:
        """Check the sizes; call this before reading from the map.

        Raises:
            Hep2ganError: A file was truncated.
        """
        for index, (descriptor, size) in enumerate(self._sizes):
            if (now := os.fstat(descriptor).st_size) < size:
                path = Path(self._files[index].name)
                raise Hep2ganError(
                    f"{path} was truncated while the run used it: {size:,} bytes are now {now:,}",
                    "a run has one store; its earlier checkpoints are of the intact one",
                    f"restore {path.parent} (pack it again from the same cells), and give the same"
                    " command again: the run resumes from its last checkpoint",
                )

    def __del__(self) -> None:
        for file in getattr(self, "_files", []):
            file.close()
