"""What to do with a folder in which the reader of the ICPR 2016 set finds no cells."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from hep2gan.data.patterns import CLASSES, parse_label
from hep2gan.data.readers.csv_table import read_table
from hep2gan.data.readers.files import FolderFiles, describe_others, walk_files
from hep2gan.errors import Hep2ganError, pluralize

OFFICIAL_TABLE = "gt_training.csv"
HEADER = ("image id", "image class")
_LAYOUTS = (
    f"it holds NNNNN.png (and NNNNN_Mask.png) with {OFFICIAL_TABLE}, with a csv table headed"
    " 'Image ID,Image class', or in one folder per class"
)
_MANIFEST = (
    "write a manifest.csv headed image,mask,label (image,label without masks), with a line for each"
    " cell, and pack that with data=manifest"
)
_MAX_FOLDERS = 10_000
"""A data set has fewer; a home folder may have many more."""


def explain_no_images(table: Path, cells: int) -> Hep2ganError:
    """Explain that a table was read, but that none of its images lies beside it.

    Args:
        table: The table of classes.
        cells: Number of cells that it lists.

    Returns:
        The error.
    """
    holding, _ = _find_pictures(table.parent)
    inside = f"; images lie in {_names(table.parent, holding)}" if holding else ""
    return Hep2ganError(
        f"{table} lists {pluralize(cells, 'cell')}, none of which lies beside it{inside}",
        _LAYOUTS,
        "move images and masks there" if holding else "unpack images and masks there",
    )


def explain_no_cells(root: Path, tables: Sequence[Path]) -> Hep2ganError:
    """Explain why no cell was found in a folder.

    Args:
        root: The folder.
        tables: Its csv files, none of which is a table of classes.

    Returns:
        The error.
    """
    if not any(root.iterdir()):
        return Hep2ganError(f"{root} is empty", _LAYOUTS, "unpack the set there")
    holding, others = _find_pictures(root)
    for table in _tables_below(root):
        columns = _columns(table)
        if {"id", "pattern"} <= columns:
            return Hep2ganError(
                f"{table.parent} is laid out as the set of the 2012 contest (ID;pattern)",
                "data=icpr2016 reads the set of 2016, which has other classes",
                f"{_MANIFEST} data.root={table.parent}",
            )
        if table.parent == root and "mask" in columns:
            return _no_table(table, "read it with data=manifest")
        if table.name == OFFICIAL_TABLE and table.parent != root:
            return Hep2ganError(
                f"{root} holds no cells", _LAYOUTS, f"set data.root to {table.parent}"
            )
    if not holding:
        fact = describe_others(others) or "no images"
        fix = "save them as PNG" if others else "set data.root to the folder of the images"
        return Hep2ganError(f"{root} holds {fact}", _LAYOUTS, fix)
    return _explain_folders(root, holding, tables)


def _explain_folders(
    root: Path, holding: Sequence[FolderFiles], tables: Sequence[Path]
) -> Hep2ganError:
    """Explain folders that hold images, but not as the set does."""
    images = [files for files in holding if files.images]
    masks = [files for files in holding if files.masks]
    if masks and not any(files.masks for files in images):
        return Hep2ganError(
            f"images lie in {_names(root, images)}, masks in {_names(root, masks)}",
            "data=icpr2016 looks for each mask beside its image",
            f"{_MANIFEST} data.root={root}",
        )
    of_classes = {f.path.parent for f in images if parse_label(f.path.name) is not None}
    if of_classes:
        return Hep2ganError(
            f"the class folders lie in {', '.join(sorted(map(str, of_classes)))}",
            f"data.root is the folder of the class folders, and {root} is none",
            f"set data.root to one such folder; for several together, {_MANIFEST}",
        )
    if root not in [files.path for files in images]:
        return Hep2ganError(
            f"{root} holds images in the folders {_names(root, images)}",
            f"a folder bears the name of its class ({', '.join(CLASSES)})",
            f"rename each after its class, or {_MANIFEST}",
        )
    fix = "write a csv table headed 'Image ID,Image class' there, with a line for each cell"
    if tables:
        return _no_table(tables[0], fix)
    return Hep2ganError(f"{root} holds no table of classes", _LAYOUTS, fix)


def _no_table(table: Path, fix: str) -> Hep2ganError:
    rows = read_table(table)
    begins = ",".join(rows[0].fields)[:80] if rows else "nothing"
    return Hep2ganError(f"{table} is not a table of this set (it begins '{begins}')", _LAYOUTS, fix)


def _find_pictures(root: Path) -> tuple[list[FolderFiles], list[Path]]:
    """List the folders that hold images or masks, and files of kinds that are not read."""
    folders = list(islice(walk_files(root), _MAX_FOLDERS))
    others = [file for files in folders for file in files.others]
    return [files for files in folders if files.images or files.masks], others


def _tables_below(root: Path) -> list[Path]:
    return sorted((*root.glob("*.csv"), *root.glob("*/*.csv")), key=lambda path: len(path.parts))


def _columns(table: Path) -> set[str]:
    with suppress(Hep2ganError):
        rows = read_table(table)
        return {name.casefold() for name in rows[0].fields} if rows else set()
    return set()


def _names(root: Path, folders: Iterable[FolderFiles], limit: int = 6) -> str:
    names = sorted(str(files.path.relative_to(root)) for files in folders)
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
