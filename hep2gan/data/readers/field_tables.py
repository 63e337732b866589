"""Tables of labelled fields: fields.csv, cells.csv and specimens.csv in the folder of the set."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.readers.csv_table import CsvRow, check_columns, raise_csv_errors, read_table
from hep2gan.data.readers.files import FileFinder, names_a_file, plain_name
from hep2gan.data.readers.manifest import check_spellings
from hep2gan.data.readers.source import (
    INTENSITIES,
    PARTS,
    UNKNOWN,
    CellError,
    ids_of_paths,
    path_problem,
)
from hep2gan.errors import Hep2ganError, pluralize

FIELDS, CELLS, SPECIMENS = "fields.csv", "cells.csv", "specimens.csv"
HEADERS = {
    FIELDS: ("image", "specimen", "label", "intensity", "split", "labels"),
    CELLS: ("image", "cell", "label", "mitotic", "defocus"),
    SPECIMENS: ("specimen", "label"),
}
"""Columns of each table; the last two of cells are of synthetic fields."""
_FIELD_OF_SPECIMEN = re.compile(r"(.+)_p\d+", re.IGNORECASE)
"""Fields of one specimen, as the contests number them: 00001_p0, 00001_p1, …"""
_NO_TABLE = (
    "write fields.csv headed image,label with a line for each field, or specimens.csv headed"
    " specimen,label"
)


class FieldRow(NamedTuple):
    """What the tables say of one field.

    Attributes:
        id: Name of the field: its path without suffix.
        image: Its file.
        labels: Its label image, where a table names it.
        specimen: Name of its specimen; '' if unknown.
        pattern: Class of its cells that have none of their own; '' if there is none.
        classes: Class of each cell, '' of one that is not packed; None if no table lists cells.
        intensity: As in `RawCell`.
        part: As in `RawCell`.
    """

    id: str
    image: Path
    labels: Path | None = None
    specimen: str = ""
    pattern: str = ""
    classes: dict[int, str] | None = None
    intensity: int = UNKNOWN
    part: int = UNKNOWN


class FieldTable(NamedTuple):
    """The fields of a set as its tables describe them.

    Attributes:
        rows: The fields, in the order of their ids.
        problems: Fields that no table names, and names without a field.
        notes: Findings, one sentence each.
    """

    rows: list[FieldRow]
    problems: tuple[CellError, ...] = ()
    notes: tuple[str, ...] = ()


class _Table(NamedTuple):
    path: Path
    columns: dict[str, int]
    rows: list[CsvRow]

    def field(self, row: CsvRow, name: str) -> str:
        return row.field(self.columns.get(name))

    def note(self) -> list[str]:
        extra = sorted(self.columns.keys() - set(HEADERS[self.path.name]))
        return [f"columns of {self.path} that are not used: {', '.join(extra)}"] if extra else []


def name_fields(root: Path, images: Sequence[Path]) -> dict[Path, str]:
    """Name fields after their paths below the folder of the set.

    Args:
        root: The folder.
        images: The files of the fields.

    Returns:
        The id of each.
    """
    ids = ids_of_paths([image.relative_to(root) for image in images])
    return dict(zip(images, ids, strict=True))


def own_specimens(rows: Sequence[FieldRow]) -> FieldTable:
    """Take the specimens from the names of the fields: before `_p0`, else each field its own.

    Args:
        rows: The fields.

    Returns:
        The fields with their specimens, and a note of the rule.
    """
    names = [_FIELD_OF_SPECIMEN.fullmatch(row.id) for row in rows]
    if all(names):
        rows = [row._replace(specimen=n[1]) for row, n in zip(rows, names, strict=True) if n]
        return FieldTable(list(rows), notes=("specimens: the names of the fields before _p0, _p1",))
    note = "no table names specimens: each field counts as one"
    return FieldTable([row._replace(specimen=row.id) for row in rows], notes=(note,))


def read_field_tables(root: Path, images: Sequence[Path]) -> FieldTable:
    """Read what the tables say of fields.

    Without fields.csv, all images are fields.

    Args:
        root: The folder of the set.
        images: The files of its fields.

    Returns:
        The fields, with the classes of specimens and cells filled in.

    Raises:
        Hep2ganError: There is no table, a table is not valid, or it names other fields.
    """
    fields, cells, specimens = (_open(root / name, needed) for name, needed in (
        (FIELDS, ("image",)), (CELLS, ("image", "cell", "label")), (SPECIMENS, HEADERS[SPECIMENS]),
    ))  # fmt: skip
    if fields is None and cells is None and specimens is None:
        raise Hep2ganError(
            f"{root} holds {pluralize(len(images), 'field')} and no table of classes",
            f"{FIELDS}, {CELLS} or {SPECIMENS} in that folder say which class a cell has",
            _NO_TABLE,
        )
    ids, notes = name_fields(root, images), list[str]()
    rows, problems = [FieldRow(ids[image], image) for image in images], list[CellError]()
    find = _finder(root, images)
    if fields is not None:
        rows, problems = _read_fields(fields, ids, find)
        notes += fields.note()
    if fields is None or "specimen" not in fields.columns:
        named = own_specimens(rows)
        rows, notes = named.rows, [*notes, *named.notes]
    if specimens is not None:
        classes = _read_specimens(specimens)
        rows = [r._replace(pattern=r.pattern or classes.get(r.specimen, "")) for r in rows]
        notes += specimens.note()
    if cells is not None:
        of_field = _read_cells(cells, find)
        rows = [row._replace(classes=of_field.get(row.image)) for row in rows]
        problems += _strangers(cells, of_field, ids)
        notes += cells.note()
    return FieldTable(rows, tuple(problems), tuple(notes))


def _strangers(table: _Table, named: Collection[Path], ids: Mapping[Path, str]) -> list[CellError]:
    """List the images that a table names and that are no fields."""
    missing = [image for image in named if image not in ids]
    if len(missing) == len(named):
        raise _other_fields(table, str(missing[0].name), ids)
    reason = f"{table.path} names it, which is no field of the folder"
    fix = "add the image, or take its lines out"
    return [CellError(image.name, f"{reason}. Fix: {fix}") for image in missing]


def _other_fields(table: _Table, named: str, ids: Mapping[Path, str]) -> Hep2ganError:
    return Hep2ganError(
        f"{table.path} names other fields than those of {table.path.parent}"
        f" (such as {named} and {next(iter(ids)).name})",
        "it names each field by its file, relative to the folder of the table",
        "put the fields of the table there, or correct its names",
    )


def _open(path: Path, required: Sequence[str]) -> _Table | None:
    if not path.is_file():
        return None
    rows = read_table(path)
    if len(rows) < 2:
        raise Hep2ganError(
            f"{path} {'names nothing' if rows else 'is empty'}",
            f"its header names {', '.join(required)}",
            "write one line for each below the header, or remove it",
        )
    return _Table(path, check_columns(path, rows[0], required), rows[1:])


def _finder(root: Path, images: Sequence[Path]) -> Callable[[str], Path]:
    """Return what finds a field by its path, or by its name where only one bears it."""
    by_name: dict[str, list[Path]] = {}
    for image in images:
        for name in {plain_name(image.stem), plain_name(image.name)}:
            by_name.setdefault(name, []).append(image)
    files = FileFinder(root)

    def find(name: str) -> Path:
        path = files.find(name)
        alike = by_name.get(plain_name(name), [])
        return alike[0] if not names_a_file(path) and len(alike) == 1 else path

    return find


def _read_fields(
    table: _Table, ids: dict[Path, str], find: Callable[[str], Path]
) -> tuple[list[FieldRow], list[CellError]]:
    found, missing, errors = dict[Path, FieldRow](), list[CellError](), list[str]()
    for row in table.rows:
        name = table.field(row, "image")
        if problem := _row_problem(table, row):
            errors.append(f"line {row.line}: {problem}")
        elif (image := find(name)) in found:
            errors.append(f"line {row.line}: {name} is named before: a field has one line")
        elif image not in ids:
            reason = f"{table.path}, line {row.line}, names {name}, which is no field of the folder"
            missing.append(CellError(name, f"{reason}. Fix: add the image, or take the line out"))
        else:
            found[image] = _field_row(table, row, ids[image], image, find)
    raise_csv_errors(table.path, errors, "correct these lines")
    for column in ("label", "specimen"):
        values = [table.field(row, column) for row in table.rows]
        check_spellings(table.path, column, values)
    if not found:
        raise _other_fields(table, missing[0].id, ids)
    unnamed = [
        CellError(
            ids[image], f"{image} is not named in {table.path}. Fix: add its line, or move it away"
        )
        for image in ids
        if image not in found
    ]
    return [found[image] for image in ids if image in found], [*missing, *unnamed]


def _row_problem(table: _Table, row: CsvRow) -> str:
    for column in ("image", "labels"):
        name = table.field(row, column)
        if name and (reason := path_problem(name)):
            return f"the {column} '{name}' {reason}: use paths below that folder"
    if not table.field(row, "image"):
        return "no image"
    for column, known in (("intensity", INTENSITIES), ("split", PARTS)):
        if (value := table.field(row, column)).casefold() not in known:
            options = ", ".join(filter(None, known))
            return f"unknown {column} '{value}' ({options}, or empty)"
    return ""


def _field_row(
    table: _Table, row: CsvRow, name: str, image: Path, find: Callable[[str], Path]
) -> FieldRow:
    labels = table.field(row, "labels")
    return FieldRow(
        name,
        image,
        find(labels) if labels else None,
        table.field(row, "specimen"),
        table.field(row, "label"),
        intensity=INTENSITIES[table.field(row, "intensity").casefold()],
        part=PARTS[table.field(row, "split").casefold()],
    )


def _read_specimens(table: _Table) -> dict[str, str]:
    classes, errors = dict[str, str](), list[str]()
    for row in table.rows:
        name = table.field(row, "specimen")
        if not name or name in classes:
            errors.append(f"line {row.line}: {'named twice: ' + name if name else 'no specimen'}")
        classes[name] = table.field(row, "label")
    raise_csv_errors(table.path, errors, "correct these lines")
    check_spellings(table.path, "label", classes.values())
    return classes


def _read_cells(table: _Table, find: Callable[[str], Path]) -> dict[Path, dict[int, str]]:
    classes, errors = dict[Path, dict[int, str]](), list[str]()
    for row in table.rows:
        name, number = table.field(row, "image"), table.field(row, "cell")
        if not name or path_problem(name):
            errors.append(f"line {row.line}: '{name}' is no path below that folder")
            continue
        if not (number.isascii() and number.isdigit() and 0 < len(number) < 8 and int(number)):
            errors.append(f"line {row.line}: '{number}' is no number of a cell")
            continue
        of_field = classes.setdefault(find(name), {})
        if int(number) in of_field:
            errors.append(f"line {row.line}: cell {number} of {name} is named before")
        of_field[int(number)] = table.field(row, "label")
    raise_csv_errors(table.path, errors, "correct these lines")
    check_spellings(table.path, "label", [n for cells in classes.values() for n in cells.values()])
    return classes
