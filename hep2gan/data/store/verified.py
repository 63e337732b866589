"""A store is read whole once, and not again before one of its files changes."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hep2gan.containers import json_object
from hep2gan.data.store.store import FILES, NOTE
from hep2gan.whole import write_whole

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


_States = dict[str, list[int]]


def verify_once(store: Store) -> None:
    """`Store.verify`, unless these very files were found whole before; then it reads none of them.

    They are the same while each has its inode, size and times of the last writing and of the last
    change, which no ordinary program sets back. A store that was copied, restored or
    written to is read anew. What a disk loses without a writing is found by `verify_again` alone.

    Raises Hep2ganError when the content is not what was packed.
    """
    states = _states(store.path)
    if _noted(store.path) != states or not _older(states, store.path / NOTE):
        verify_again(store)


def verify_again(store: Store) -> None:
    """Read the whole store, and note that it was found whole; a damaged one loses its note.

    Raises Hep2ganError when the content is not what was packed.
    """
    # Taken before, so that what changes meanwhile is not taken for what was read.
    before = _states(store.path)
    with suppress(OSError):
        (store.path / NOTE).unlink(missing_ok=True)
    store.verify()
    _write(store.path, before)


def note_whole(folder: Path) -> None:
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
        return json_object(folder / NOTE).get("files")
    return None


def _write(folder: Path, states: _States) -> None:
    # Where nothing can be written, the store is read whole at every start.
    with suppress(OSError):
        write_whole(folder / NOTE, json.dumps({"files": states}, indent=1) + "\n")
