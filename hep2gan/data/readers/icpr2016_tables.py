"""The two flat layouts of the ICPR 2016 set: one folder of images and a csv table of classes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.icpr2016_classes import label_of, unknown
from hep2gan.data.readers.csv_table import Row, columns, read_table, refuse_lines
from hep2gan.data.readers.decoding import SUFFIXES
from hep2gan.data.readers.folder import Folder, scan
from hep2gan.data.readers.raw import INTENSITIES, Problem, RawCell, cell_id, unsafe
from hep2gan.errors import Hep2ganError

HANDED_OUT = "gt_training.csv"
SPECIMENS = "specimens.csv"
_HEADER = ("image id", "image class")


class Found(NamedTuple):
    """What one layout holds, before specimens are known."""

    layout: str
    cells: list[RawCell]
    problems: list[Problem]


class Table(NamedTuple):
    """A csv table that names cells and classes: without header, or with `Image ID,Image class`."""

    path: Path
    header: bool
    rows: list[Row]


def tables_in(root: Path) -> list[Path]:
    """All csv files of the folder but specimens.csv."""
    files = (p for p in root.iterdir() if p.suffix.lower() == ".csv" and p.name[0] != ".")
    return sorted(p for p in files if p.name.lower() != SPECIMENS)


def find_table(root: Path) -> Table | None:
    """Find the table of classes; None when no csv file looks like one.

    Raises Hep2ganError when several do and none is called gt_training.csv, and when a csv file
    that has to be looked at cannot be read.
    """
    handed_out = root / HANDED_OUT
    paths = [handed_out] if handed_out.is_file() else tables_in(root)
    tables = [table for table in map(_recognised, paths) if table is not None]
    if len(tables) > 1:
        names = ", ".join(table.path.name for table in tables)
        fix = f"keep one, or call the right one {HANDED_OUT}"
        raise Hep2ganError(f"{root} holds several tables of classes: {names}", "", fix)
    return tables[0] if tables else None


def _recognised(path: Path) -> Table | None:
    rows = read_table(path)
    first = rows[0].fields if rows else ()
    if set(_HEADER) <= {name.casefold() for name in first}:
        return Table(path, True, rows)
    handed_out = len(first) == 4 and first[0].lower().endswith(SUFFIXES)
    return Table(path, False, rows) if handed_out else None


def read_flat(root: Path, table: Table) -> Found:
    """Read the cells that a table names, in its order.

    Raises Hep2ganError with every line that has an unknown class or intensity, an id met before, a
    path, or too few columns. Images that no line names come back as problems.
    """
    folder = scan(root)
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
    refuse_lines(table.path, wrong, "correct these lines")
    layout = "flat, table with header" if table.header else "flat, table as handed out"
    return Found(f"{layout}: {table.path.name}", cells, folder.unnamed(set(seen), table.path.name))


def _parser(folder: Folder) -> Callable[[Row], RawCell | str]:
    here = {path.name for path in (*folder.images.values(), *folder.masks.values())}

    def parse(row: Row) -> RawCell | str:
        if len(row.fields) != 4:
            return f"{len(row.fields)} columns instead of image, mask, class, intensity"
        image, mask, name, intensity = row.fields
        cell = cell_id(image)
        files = [folder.path / file for file in (image, mask)]
        if image not in here:
            files[0] = folder.images.get(cell, files[0])
        if mask not in here:
            files[1] = folder.masks.get(cell, files[1])
        label, bright = label_of(name), INTENSITIES.get(intensity.casefold())
        if bright is None:
            return f"unknown intensity '{intensity}' (positive or intermediate)"
        wrong = _wrong_name(image) or _wrong_name(mask)
        return wrong or _cell(cell, files[0], files[1], label, name, bright)

    return parse


def _parser_with_header(table: Table, folder: Folder) -> Callable[[Row], RawCell | str]:
    found = columns(table.path, table.rows[0], _HEADER)

    def parse(row: Row) -> RawCell | str:
        number, name = (row.field(found[column]) for column in _HEADER)
        cell = cell_id(number)
        image = folder.images.get(cell, folder.path / f"{cell}.png")
        wrong = _wrong_name(number)
        return wrong or _cell(cell, image, folder.mask(cell), label_of(name), name)

    return parse


def _wrong_name(name: str) -> str:
    if not name:
        return "an empty image or mask name"
    if "/" in name or unsafe(name):
        return f"'{name}' is not the name of a file in this folder"
    return ""


def _cell(
    cell: str, image: Path, mask: Path, label: int | None, name: str, intensity: int = -1
) -> RawCell | str:
    if label is None:
        return unknown(name)
    return RawCell(cell, image, mask, label, intensity=intensity)
