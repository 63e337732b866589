"""From a `data` configuration to an open store: drawing, reading and packing where needed."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hep2gan.data.phantom.generate import write_phantom
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.manifest import read_manifest
from hep2gan.data.readers.raw import RawCells
from hep2gan.data.store.integrity import verify_again, verify_once
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import progress_bar
from hep2gan.training import distributed

log = logging.getLogger(__name__)


def open_store(data: Mapping[str, Any], *, thorough: bool = False) -> Store:
    """Open the store that `data` names; drawn cells are drawn and packed at first use.

    Rank 0 holds it against what was packed. thorough: read all of it; otherwise that is done when
    its files have changed since (see `verified`). Raises Hep2ganError for a store that is missing,
    damaged or of another size.
    """
    path = Path(data["store"])
    if not path.exists():
        if data["source"] != "phantom":
            raise Hep2ganError(
                f"there is no store at {path}",
                "training reads packed cells",
                f"run hep2gan-pack data={data['source']} data.root=FOLDER, or set data.store",
            )
        return pack_store(data)
    store = Store.open(path)
    if distributed.rank() == 0:
        verify_again(store) if thorough else verify_once(store)
    if store.size != data["size"]:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px, data.size is {data['size']}",
            "",
            f"set data.size={store.size}, or pack again into another data.store",
        )
    return store


def pack_store(data: Mapping[str, Any], workers: int | None = None) -> Store:
    """Read the raw cells of `data`, check them and pack them."""
    raw = _read_source(data, workers)
    log.info("Packing %d cells from %s", len(raw.cells), data["root"])
    with progress_bar("packing") as bar:
        return pack_cells(
            raw,
            Path(data["store"]),
            size=data["size"],
            on_error=data["on_error"],
            white=data["white"],
            workers=workers,
            progress=bar,
        )


def _read_source(data: Mapping[str, Any], workers: int | None) -> RawCells:
    root = Path(_rooted(data))
    if data["source"] == "phantom":
        with progress_bar("drawing") as bar:
            write_phantom(
                root,
                data["count"],
                data["seed"],
                duplicate_specimen=data["duplicate_specimen"],
                spread=data["spread"],
                workers=workers,
                progress=bar,
            )
        # Drawn cells have the real set's layout, but not its counts to be held against.
        return read_icpr2016(root)._replace(source=f"drawn cells {root}", published_counts=None)
    readers: dict[str, Callable[[Path], RawCells]] = {
        "icpr2016": read_icpr2016,
        "manifest": read_manifest,
    }
    if data["source"] not in readers:
        options = ", ".join([*readers, "phantom"])
        raise Hep2ganError(f"data.source is {data['source']!r}", f"choose from {options}")
    return readers[data["source"]](root)


def _rooted(data: Mapping[str, Any]) -> str:
    if data["root"] in ("???", None):
        raise Hep2ganError(
            "data.root is not set", "it names the folder of the raw cells", "add data.root=FOLDER"
        )
    return str(data["root"])
