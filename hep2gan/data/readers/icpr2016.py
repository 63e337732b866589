"""The ICPR 2016 Task-1 set (I3A), in the three layouts it is handed round in.

1. Flat, `gt_training.csv` without header: `00001.png,00001_Mask.png,Homogeneous,positive`.
2. Flat, any csv file with the header `Image ID,Image class`; ids `00001` or `1`.
3. One folder per class, `Homogeneous/00001.png` + `Homogeneous/00001_Mask.png`, no csv.

An optional `specimens.csv` (header `image,specimen`) beside them says which cells belong together.
The set is handed out by its owners and is not part of this software.
"""

from pathlib import Path

from hep2gan.data.icpr2016_classes import CLASSES, COUNTS, label_of, refuse_other_classes
from hep2gan.data.readers.csv_table import columns, read_table, refuse_lines
from hep2gan.data.readers.folder import scan
from hep2gan.data.readers.icpr2016_tables import (
    HANDED_OUT,
    SPECIMENS,
    Found,
    find_table,
    read_flat,
    tables_in,
)
from hep2gan.data.readers.raw import Problem, RawCell, RawCells, cell_id, natural, numbered
from hep2gan.errors import Hep2ganError

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
    numbers = numbered(specimens.values())
    cells = [
        cell._replace(specimen=numbers.get(specimens.get(cell.id, ""), -1))
        for cell in sorted(found.cells, key=lambda cell: natural(cell.id))
    ]
    source = f"ICPR 2016 set in {root} ({found.layout})"
    return RawCells(source, CLASSES, cells, COUNTS, tuple(numbers), tuple(found.problems), notes)


def read_folders(root: Path) -> Found:
    """Read one folder per class. Raises when a folder of images is no class, or ids clash."""
    folders = [scan(path) for path in sorted(root.iterdir()) if path.is_dir()]
    folders = [folder for folder in folders if folder.images or folder.masks]
    if any(label_of(folder.path.name) is not None for folder in folders):
        refuse_other_classes([folder.path.name for folder in folders], f"folders of {root}")
    cells: dict[str, RawCell] = {}
    problems: list[Problem] = []
    for folder in folders:
        label = label_of(folder.path.name)
        if label is None:
            continue
        for cell, image in folder.images.items():
            if cell in cells:
                fact = f"{cells[cell].image} and {image} have the same id {cell}"
                raise Hep2ganError(fact, "ids occur once in the set", "move one of them away")
            cells[cell] = RawCell(cell, image, folder.mask(cell), label)
        problems += [
            Problem(
                cell, f"{mask} has no image {cell}.png beside it. Fix: add it, or move the mask"
            )
            for cell, mask in folder.masks.items()
            if cell not in folder.images
        ]
    loose = scan(root).unnamed(set(), "a folder of its class") if cells else []
    return Found("one folder per class", list(cells.values()), problems + loose)


def _specimens(root: Path, found: Found) -> tuple[dict[str, str], tuple[str, ...]]:
    """Specimen names by cell id, and a note when some cells have none."""
    path = root / SPECIMENS
    if not path.is_file():
        return {}, ()
    rows = read_table(path)
    if not rows:
        raise Hep2ganError(f"{path} is empty", "its header is image,specimen", "write or remove it")
    column = columns(path, rows[0], ("image", "specimen"))
    known = {cell.id for cell in found.cells} | {problem.id for problem in found.problems}
    names: dict[str, str] = {}
    wrong = []
    for row in rows[1:]:
        cell = cell_id(row.field(column["image"]))
        if cell not in known or cell in names:
            why = "is named twice" if cell in names else "is no cell of the set"
            wrong.append(f"line {row.line}: {cell or 'an empty name'} {why}")
        names[cell] = row.field(column["specimen"])
    refuse_lines(path, wrong, "correct these lines")
    without = sum(not names.get(cell.id) for cell in found.cells)
    note = f"{without:,} cells are not in {path} or have no specimen there"
    return names, (note,) if without else ()


def _nothing(root: Path) -> Hep2ganError:
    tables = tables_in(root)
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
