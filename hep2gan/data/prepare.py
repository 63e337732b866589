"""From a `data` configuration to an open store: generate, read and pack where needed."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hep2gan.data.phantom.generate import write_phantom
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.manifest import read_manifest
from hep2gan.data.readers.raw import RawCells
from hep2gan.data.store.integrity import verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import progress_bar

log = logging.getLogger(__name__)

_READERS: dict[str, Callable[[Path], RawCells]] = {
    "icpr2016": read_icpr2016,
    "manifest": read_manifest,
}


def open_store(data: Mapping[str, Any], *, check: bool = True, force_check: bool = False) -> Store:
    """Open the store that `data` names; synthetic cells are made and packed at first use.

    Args:
        data: The configuration of the data, see conf/data.
        check: Compare its content with what was packed; one of several ranks suffices.
        force_check: Read all of it even where its files have not changed since the last check.

    Raises:
        Hep2ganError: The store is missing, damaged or of another size.
    """
    path = Path(data["store"])
    if not path.exists():
        if data["reader"] != "phantom":
            raise Hep2ganError(
                f"there is no store at {path}",
                "training reads packed cells",
                f"run hep2gan-pack data={data['reader']} data.root=FOLDER, or set data.store",
            )
        return pack_store(data)
    store = Store.open(path)
    if check:
        verify(store, force=force_check)
    if store.size != data["size"]:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px, data.size is {data['size']}",
            "",
            f"set data.size={store.size}, or pack again into another data.store",
        )
    return store


def pack_store(data: Mapping[str, Any], workers: int | None = None) -> Store:
    """Read the raw cells of `data`, check them and pack them; `workers` as in `pack_cells`."""
    raw = _read_raw(data, workers)
    log.info("Packing %d cells from %s", len(raw.cells), data["root"])
    with progress_bar("packing") as progress:
        return pack_cells(
            raw,
            Path(data["store"]),
            size=data["size"],
            on_error=data["on_error"],
            white_level=data["white_level"],
            workers=workers,
            progress=progress,
        )


def _read_raw(data: Mapping[str, Any], workers: int | None) -> RawCells:
    if data["root"] in ("???", None):
        raise Hep2ganError(
            "data.root is not set", "it names the folder of the raw cells", "add data.root=FOLDER"
        )
    root = Path(data["root"])
    if data["reader"] == "phantom":
        with progress_bar("generating cells") as progress:
            write_phantom(
                root,
                data["count"],
                data["seed"],
                duplicate_specimen=data["duplicate_specimen"],
                spread=data["spread"],
                workers=workers,
                progress=progress,
            )
        # Synthetic cells have the real set's layout, but not its counts to be compared with.
        raw = read_icpr2016(root)
        return raw._replace(source=f"synthetic cells {root}", published_counts=None)
    if data["reader"] not in _READERS:
        options = ", ".join([*_READERS, "phantom"])
        raise Hep2ganError(f"data.reader is {data['reader']!r}", f"choose from {options}")
    return _READERS[data["reader"]](root)
