"""From a data set in a configuration to an open store: generate, read and pack where needed."""

import logging
import re
import shlex
from pathlib import Path

from hep2gan.data.readers.mask_files import choose_masks
from hep2gan.data.readers.source import DataSource, PackSettings
from hep2gan.data.store.integrity import verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import progress_bar
from hep2gan.runs.folder import RunFolder, Target

log = logging.getLogger(__name__)


def open_store_of_run(run: RunFolder, place: str | None) -> Store:
    """Open the store that a run was trained on.

    Args:
        run: The run's folder.
        place: Where the store is now; None for where it was then.

    Returns:
        The open store, with the labels that the run learned.

    Raises:
        Hep2ganError: The store is missing, damaged or another one.
    """
    info = run.store_info()
    path = Path(place) if place else info.path
    if not path.exists():
        raise Hep2ganError(
            f"there is no store at {path.absolute()}",
            f"{run.path} was trained on its cells",
            "give its folder with store=FOLDER, or start where the training was started",
        )
    store = Store.open(path)
    trained_on = run.split_summary().get("settings", {}).get("fingerprint")
    if place and trained_on != store.fingerprint:
        raise Hep2ganError(
            f"{path} holds other cells than {run.path} was trained on",
            "store= is another place of the run's own cells",
            "leave store out, or name a copy of the training's store; to test on other labelled"
            f" cells: hep2gan-evaluate {run.path} data=manifest as=NAME data.store={path}",
        )
    return store.for_target(info.target)


def open_store(
    source: DataSource,
    target: Target = "pattern",
    *,
    check: bool = True,
    force_check: bool = False,
) -> Store:
    """Open the store of a data set; synthetic cells are generated and packed at first use.

    Args:
        source: The settings of the data set.
        target: Which labels its cells get.
        check: Compare its content with what was packed; one of several ranks suffices.
        force_check: Read all of it even if its files have not changed since the last check.

    Returns:
        The opened store.

    Raises:
        Hep2ganError: The store is missing, damaged, of another size, or without these labels.
    """
    path = Path(source.store)
    if not path.exists():
        if not source.is_generated:
            raise _no_store(source)
        return pack_store(source).for_target(target)
    store = Store.open(path)
    if check:
        verify(store, force=force_check)
    if store.has_masks and source.masks is False:
        raise Hep2ganError(
            f"{path} holds masks, data.masks is false",
            "",
            "set data.masks=true, or pack again into another data.store",
        )
    for key in ("white_level", "channel", "plane", "crop_change", "crop_shift"):
        packed, given = store.manifest.get("settings", {}).get(key), getattr(source, key)
        if packed != given:
            raise Hep2ganError(
                f"{path} was packed with data.{key}={_shown(packed)}, here it is {_shown(given)}",
                "predictions read new images as this configuration says",
                f"set data.{key}={_shown(packed)}, or pack again into another data.store",
            )
    if store.size != source.size:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px, data.size is {source.size}",
            "",
            f"set data.size={store.size}, or pack again into another data.store",
        )
    return store.for_target(target)


def _no_store(source: DataSource) -> Hep2ganError:
    """Name the command that packs these cells, and stores of the same cells in another size."""
    path = Path(source.store)
    stem = path.name.removesuffix(f"_{source.size}")
    others = sorted(
        other.name for other in path.parent.glob("*") if re.sub(r"_\d+$", "", other.name) == stem
    )
    beside = "".join(
        f"; {path.parent / name} holds images of {name.rpartition('_')[2]} px" for name in others
    )
    has_root = source.root not in (None, "???")
    trial = "; or try it without a data set: hep2gan-train data=phantom scale=laptop"
    return Hep2ganError(
        f"there is no store at {path}",
        f"training reads packed cells, here of {source.size} px{beside}",
        f"run {_pack_command(source, has_root)}{'' if has_root or others else trial}",
    )


def _pack_command(source: DataSource, has_root: bool) -> str:
    """The command line of hep2gan-pack for a configured data set."""
    # The options of the group `data` are called as the classes of their sources are.
    kind = re.sub("(?<=.)(?=[A-Z])", "_", type(source).__name__.removesuffix("Source")).lower()
    path = Path(source.store)
    by_name = path.name == f"{source.name}_{source.size}"
    place = f"stores={path.parent}" if by_name else f"data.store={path}"
    words = [f"data={kind}", f"data.root={source.root if has_root else 'FOLDER'}"]
    words += [] if source.name == kind else [f"data.name={source.name}"]
    words += [] if place == "stores=stores" else [place]
    for key in (*PackSettings.model_fields, "masks"):
        value = getattr(source, key)
        if value != type(source).model_fields[key].default:
            words.append(f"data.{key}={str(value).lower() if value is False else value}")
    return shlex.join(["hep2gan-pack", *words])


def _shown(value: object) -> object:
    return "null" if value is None else value


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
    raw = choose_masks(source.read(workers), source)
    log.info("Packing %s from %s", pluralize(len(raw.cells), "cell"), source.root)
    with progress_bar("packing") as progress:
        return pack_cells(
            raw,
            Path(source.store),
            workers=workers,
            progress=progress,
            **{name: getattr(source, name) for name in PackSettings.model_fields},
        )
