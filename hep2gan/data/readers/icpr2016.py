"""The ICPR 2016 Task-1 set (I3A), in the three layouts it is handed round in.

1. Flat, `gt_training.csv` without header: `00001.png,00001_Mask.png,Homogeneous,positive`.
2. Flat, any csv file with the header `Image ID,Image class`; ids `00001` or `1`.
3. One folder per class, `Homogeneous/00001.png` + `Homogeneous/00001_Mask.png`, no csv.

An optional `specimens.csv` (header `image,specimen`) beside them says which cells belong together.
The set is handed out by its owners and is not part of this software.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.patterns import CLASSES, COUNTS, is_unknown, parse_label, refuse_other_classes
from hep2gan.data.readers.csv_table import CsvRow, check_columns, read_table, refuse_csv_lines
from hep2gan.data.readers.image import SUFFIXES
from hep2gan.data.readers.raw import (
    INTENSITIES,
    CellError,
    RawCell,
    RawCells,
    cell_id,
    name_ids,
    natural,
    path_problem,
)
from hep2gan.errors import Hep2ganError

_MASK = "_mask"


class FolderListing(NamedTuple):
    """Files of one folder by the id of their cell; `NNNNN_Mask.png` belongs to `NNNNN.png`."""

    path: Path
    images: dict[str, Path]
    masks: dict[str, Path]

    def mask(self, cell: str) -> Path:
        """Return the mask of a cell: the file there is, or the name it should have."""
        return self.masks.get(cell, self.path / f"{cell}_Mask.png")

    def unnamed(self, named: set[str], table: str) -> list[CellError]:
        """Tell the images and masks of cells that the table does not name."""
        files = {**self.masks, **self.images}
        return [
            CellError(
                cell,
                f"{files[cell]} is not named in {table}: every image needs its class."
                f" Fix: add its line to {table}, or move the file away",
            )
            for cell in sorted(files.keys() - named)
        ]


def list_folder(path: Path) -> FolderListing:
    """List the image and mask files of a folder, without its subfolders and hidden files.

    Raises Hep2ganError when two files stand for one cell (`1.png` and `00001.png`).
    """
    folder = FolderListing(path, {}, {})
    with os.scandir(path) as entries:
        names = sorted(e.name for e in entries if e.name[0] != "." and not e.is_dir())
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix
        if suffix.lower() in SUFFIXES:
            is_mask = stem.lower().endswith(_MASK)
            cell = cell_id(stem[: -len(_MASK)] if is_mask else stem)
            _add(folder.masks if is_mask else folder.images, cell, path / name)
    return folder


def _add(files: dict[str, Path], cell: str, path: Path) -> None:
    if cell in files:
        fact = f"{files[cell]} and {path} are both the cell {cell}"
        raise Hep2ganError(fact, "a cell has one image and one mask", "move one of them away")
    files[cell] = path


HANDED_OUT = "gt_training.csv"
SPECIMENS = "specimens.csv"
_HEADER = ("image id", "image class")


class LabelTable(NamedTuple):
    """What one layout holds, before specimens are known."""

    layout: str
    cells: list[RawCell]
    problems: list[CellError]


class TableFormat(NamedTuple):
    """A csv table that names cells and classes: without header, or with `Image ID,Image class`."""

    path: Path
    header: bool
    rows: list[CsvRow]


def list_tables(root: Path) -> list[Path]:
    """All csv files of the folder but specimens.csv."""
    files = (p for p in root.iterdir() if p.suffix.lower() == ".csv" and p.name[0] != ".")
    return sorted(p for p in files if p.name.lower() != SPECIMENS)


def find_table(root: Path) -> TableFormat | None:
    """Find the table of classes; None when no csv file looks like one.

    Raises Hep2ganError when several do and none is called gt_training.csv, and when a csv file
    that has to be looked at cannot be read.
    """
    handed_out = root / HANDED_OUT
    paths = [handed_out] if handed_out.is_file() else list_tables(root)
    tables = [table for table in map(_recognised, paths) if table is not None]
    if len(tables) > 1:
        names = ", ".join(table.path.name for table in tables)
        fix = f"keep one, or call the right one {HANDED_OUT}"
        raise Hep2ganError(f"{root} holds several tables of classes: {names}", "", fix)
    return tables[0] if tables else None


def _recognised(path: Path) -> TableFormat | None:
    rows = read_table(path)
    first = rows[0].fields if rows else ()
    if set(_HEADER) <= {name.casefold() for name in first}:
        return TableFormat(path, True, rows)
    handed_out = len(first) == 4 and first[0].lower().endswith(SUFFIXES)
    return TableFormat(path, False, rows) if handed_out else None


def read_flat(root: Path, table: TableFormat) -> LabelTable:
    """Read the cells that a table names, in its order.

    Raises Hep2ganError with every line that has an unknown class or intensity, an id met before, a
    path, or too few columns. Images that no line names come back as problems.
    """
    folder = list_folder(root)
    rows = table.rows[1:] if table.header else table.rows
    parse = _parser_with_header(table, folder) if table.header else _parser(folder)
    cells, wrong, seen = [], [], dict[str, int]()
    for row in rows:
        parsed = parse(row)
        if isinstance(parsed, RawCell) and parsed.id in seen:
            parsed = f"the id {parsed.id} is already on line {seen[parsed.id]}"
        if isinstance(parsed, str):
            wrong.append(f"line {row.line}: {parsed}")
        else:
            seen[parsed.id] = row.line
            cells.append(parsed)
    refuse_csv_lines(table.path, wrong, "correct these lines")
    layout = "flat, table with header" if table.header else "flat, table as handed out"
    return LabelTable(
        f"{layout}: {table.path.name}", cells, folder.unnamed(set(seen), table.path.name)
    )


def _parser(folder: FolderListing) -> Callable[[CsvRow], RawCell | str]:
    here = {path.name for path in (*folder.images.values(), *folder.masks.values())}

    def parse(row: CsvRow) -> RawCell | str:
        if len(row.fields) != 4:
            return f"{len(row.fields)} columns instead of image, mask, class, intensity"
        image, mask, name, intensity = row.fields
        cell = cell_id(image)
        files = [folder.path / file for file in (image, mask)]
        if image not in here:
            files[0] = folder.images.get(cell, files[0])
        if mask not in here:
            files[1] = folder.masks.get(cell, files[1])
        label, bright = parse_label(name), INTENSITIES.get(intensity.casefold())
        if bright is None:
            return f"unknown intensity '{intensity}' (positive or intermediate)"
        wrong = _wrong_name(image) or _wrong_name(mask)
        return wrong or _cell(cell, files[0], files[1], label, name, bright)

    return parse


def _parser_with_header(
    table: TableFormat, folder: FolderListing
) -> Callable[[CsvRow], RawCell | str]:
    found = check_columns(table.path, table.rows[0], _HEADER)

    def parse(row: CsvRow) -> RawCell | str:
        number, name = (row.field(found[column]) for column in _HEADER)
        cell = cell_id(number)
        image = folder.images.get(cell, folder.path / f"{cell}.png")
        wrong = _wrong_name(number)
        return wrong or _cell(cell, image, folder.mask(cell), parse_label(name), name)

    return parse


def _wrong_name(name: str) -> str:
    if not name:
        return "an empty image or mask name"
    if "/" in name or path_problem(name):
        return f"'{name}' is not the name of a file in this folder"
    return ""


def _cell(
    cell: str, image: Path, mask: Path, label: int | None, name: str, intensity: int = -1
) -> RawCell | str:
    if label is None:
        return is_unknown(name)
    return RawCell(cell, image, mask, label, intensity=intensity)


_LAYOUTS = (
    f"it holds NNNNN.png and NNNNN_Mask.png with {HANDED_OUT}, with a csv table headed"
    " 'Image ID,Image class', or in one folder per class"
)


def read_icpr2016(root: Path) -> RawCells:
    """Read the set from its folder, whichever of the three layouts it is in, sorted by id.

    Files that the table names but that are missing are met when packing. Raises Hep2ganError for a
    missing or empty folder, no or several tables, unknown classes, ids that occur twice, tables
    that are not UTF-8: each naming the file, the line and the fix.
    """
    root = Path(root)
    if not root.is_dir():
        fact = f"{root} is a file" if root.is_file() else f"{root} does not exist"
        fix = "set data.root to the folder of the set; without the set, use data=phantom"
        raise Hep2ganError(fact, "the ICPR 2016 set is a folder", fix)
    table = find_table(root)
    found = read_folders(root) if table is None else read_flat(root, table)
    if not found.cells:
        raise _nothing(root)
    specimens, notes = _specimens(root, found)
    numbers = name_ids(specimens.values())
    cells = [
        cell._replace(specimen=numbers.get(specimens.get(cell.id, ""), -1))
        for cell in sorted(found.cells, key=lambda cell: natural(cell.id))
    ]
    source = f"ICPR 2016 set in {root} ({found.layout})"
    return RawCells(source, CLASSES, cells, COUNTS, tuple(numbers), tuple(found.problems), notes)


def read_folders(root: Path) -> LabelTable:
    """Read one folder per class. Raises when a folder of images is no class, or ids clash."""
    folders = [list_folder(path) for path in sorted(root.iterdir()) if path.is_dir()]
    folders = [folder for folder in folders if folder.images or folder.masks]
    if any(parse_label(folder.path.name) is not None for folder in folders):
        refuse_other_classes([folder.path.name for folder in folders], f"folders of {root}")
    cells: dict[str, RawCell] = {}
    problems: list[CellError] = []
    for folder in folders:
        label = parse_label(folder.path.name)
        if label is None:
            continue
        for cell, image in folder.images.items():
            if cell in cells:
                fact = f"{cells[cell].image} and {image} have the same id {cell}"
                raise Hep2ganError(fact, "ids occur once in the set", "move one of them away")
            cells[cell] = RawCell(cell, image, folder.mask(cell), label)
        problems += [
            CellError(
                cell, f"{mask} has no image {cell}.png beside it. Fix: add it, or move the mask"
            )
            for cell, mask in folder.masks.items()
            if cell not in folder.images
        ]
    loose = list_folder(root).unnamed(set(), "a folder of its class") if cells else []
    return LabelTable("one folder per class", list(cells.values()), problems + loose)


def _specimens(root: Path, found: LabelTable) -> tuple[dict[str, str], tuple[str, ...]]:
    """Specimen names by cell id, and a note when some cells have none."""
    path = root / SPECIMENS
    if not path.is_file():
        return {}, ()
    rows = read_table(path)
    if not rows:
        raise Hep2ganError(f"{path} is empty", "its header is image,specimen", "write or remove it")
    column = check_columns(path, rows[0], ("image", "specimen"))
    known = {cell.id for cell in found.cells} | {problem.id for problem in found.problems}
    names: dict[str, str] = {}
    wrong = []
    for row in rows[1:]:
        cell = cell_id(row.field(column["image"]))
        if cell not in known or cell in names:
            why = "is named twice" if cell in names else "is no cell of the set"
            wrong.append(f"line {row.line}: {cell or 'an empty name'} {why}")
        names[cell] = row.field(column["specimen"])
    refuse_csv_lines(path, wrong, "correct these lines")
    without = sum(not names.get(cell.id) for cell in found.cells)
    note = f"{without:,} cells are not in {path} or have no specimen there"
    return names, (note,) if without else ()


def _nothing(root: Path) -> Hep2ganError:
    tables = list_tables(root)
    if any((root / name / HANDED_OUT).is_file() for name in sorted(_subfolders(root))):
        inner = next(n for n in sorted(_subfolders(root)) if (root / n / HANDED_OUT).is_file())
        return Hep2ganError(f"{root} holds no cells", _LAYOUTS, f"set data.root to {root / inner}")
    if not any(root.iterdir()):
        return Hep2ganError(f"{root} is empty", _LAYOUTS, "unpack the set there")
    if not tables:
        return Hep2ganError(f"{root} holds no table of classes", _LAYOUTS, "add the table")
    rows = read_table(tables[0])
    shown = ",".join(rows[0].fields) if rows else "nothing"
    fact = f"{tables[0]} is no table of this set (it begins '{shown[:80]}')"
    if "mask" in {name.casefold() for name in (rows[0].fields if rows else ())}:
        return Hep2ganError(fact, _LAYOUTS, "read it with data=manifest")
    return Hep2ganError(fact, _LAYOUTS, "add the table of the set")


def _subfolders(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir()]
