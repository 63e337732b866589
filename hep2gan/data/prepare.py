"""From a data set in a configuration to an open store: generate, read and pack where needed."""

import logging
from pathlib import Path

from hep2gan.data.readers.source import DataSource, PackSettings
from hep2gan.data.store.integrity import verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import progress_bar

log = logging.getLogger(__name__)


def open_store(source: DataSource, *, check: bool = True, force_check: bool = False) -> Store:
    """Open the store of a data set; synthetic cells are generated and packed at first use.

    Args:
        source: The settings of the data set.
        check: Compare its content with what was packed; one of several ranks suffices.
        force_check: Read all of it even if its files have not changed since the last check.

    Returns:
        The opened store.

    Raises:
        Hep2ganError: The store is missing, damaged or of another size.
    """
    path = Path(source.store)
    if not path.exists():
        if not source.is_generated:
            raise Hep2ganError(
                f"there is no store at {path}",
                "training reads packed cells",
                "run hep2gan-pack with the same data=… and data.root=FOLDER, or set data.store",
            )
        return pack_store(source)
    store = Store.open(path)
    if check:
        verify(store, force=force_check)
    if store.size != source.size:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px, data.size is {source.size}",
            "",
            f"set data.size={store.size}, or pack again into another data.store",
        )
    return store


def pack_store(source: DataSource, workers: int | None = None) -> Store:
    """Read the raw cells of a data set, check them and pack them.

    Args:
        source: The settings of the data set.
        workers: As in `pack_cells`.

    Returns:
        The opened store.

    Raises:
        Hep2ganError: Cells are damaged, the data set is invalid, or the store cannot be written.
    """
    raw = source.read(workers)
    log.info("Packing %d cells from %s", len(raw.cells), source.root)
    with progress_bar("packing") as progress:
        return pack_cells(
            raw,
            Path(source.store),
            workers=workers,
            progress=progress,
            **{name: getattr(source, name) for name in PackSettings.model_fields},
        )
