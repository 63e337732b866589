"""The fields of the contests: the 28 of ICPR 2012 (MIVIA), and Task 2 of ICPR 2014 to 2016."""

import re
from collections.abc import Sequence
from pathlib import Path

from hep2gan.data.patterns import canonical_class
from hep2gan.data.readers.csv_table import CsvRow, raise_csv_errors, read_table
from hep2gan.data.readers.field_tables import FieldRow, FieldTable, name_fields, own_specimens
from hep2gan.data.readers.fields import FieldsSource
from hep2gan.data.readers.icpr2012 import CLASSES as CLASSES_2012
from hep2gan.data.readers.image import SUFFIXES
from hep2gan.data.readers.source import INTENSITIES, CellError, cell_id
from hep2gan.errors import Hep2ganError

CLASSES_2016 = (
    "homogeneous", "speckled", "nucleolar", "centromere", "golgi", "numem", "mitotic spindle",
)  # fmt: skip
_NAMES = ("image", "image id", "image_id", "specimen", "specimen id", "specimen_id", "id")
_LABELS = ("pattern", "class", "image class", "label")
_FIELD = re.compile(r"_p\d+$", re.IGNORECASE)


class Icpr2012FieldsSource(FieldsSource):
    """data=icpr2012_fields: the fields of the 2012 contest; for its keys see `FieldsSource`.

    `Images/01/01.bmp` with `01_mask.bmp`, and a csv table of images and patterns: that of the
    images, or that of the cells if it names the image of each. Each field is of another patient.
    """

    def read_tables(self, root: Path, images: Sequence[Path]) -> FieldTable:
        """Read the class of each field from the table; see `FieldsSource.read_tables`."""
        images = [image for image in images if _is_field_2012(root, image)]
        ids = {image: cell_id(image.name) for image in images}
        rows, problems = _read_classes(root, ids, CLASSES_2012)
        return FieldTable([row._replace(specimen=row.id) for row in rows], tuple(problems))


class Icpr2016FieldsSource(FieldsSource):
    """data=icpr2016_fields: Task 2 of ICPR 2014 to 2016; for its keys see `FieldsSource`.

    Four fields a specimen, `00001_p0.tif` with `00001_p0_Mask.tif`, and a csv table of specimens or
    fields with their class and, if it has it, intensity.
    """

    def read_tables(self, root: Path, images: Sequence[Path]) -> FieldTable:
        """Read the class of each specimen from the table; see `FieldsSource.read_tables`."""
        ids = name_fields(root, images)
        rows, problems = _read_classes(root, ids, CLASSES_2016)
        named = own_specimens(rows)
        return named._replace(problems=tuple(problems))


def _is_field_2012(root: Path, image: Path) -> bool:
    """Leave out the crops of the set, in their folder Cells."""
    return "cells" not in {part.casefold() for part in image.relative_to(root).parts[:-1]}


def _read_classes(
    root: Path, ids: dict[Path, str], known: Sequence[str]
) -> tuple[list[FieldRow], list[CellError]]:
    """Find the one table that names the fields, or their specimens, and read their classes."""
    keys = {image: (_key(image.stem), _key(_FIELD.sub("", image.stem))) for image in ids}
    wanted = {key for pair in keys.values() for key in pair}
    tables = [t for p in _csv_files(root) if (t := _read_table(p, wanted, known)) is not None]
    if len(tables) != 1:
        names = ", ".join(str(path) for path, _ in tables)
        raise Hep2ganError(
            f"several tables name the classes of the fields: {names}"
            if tables
            else f"{root} holds no table of the classes of its {len(ids)} fields",
            "one csv file, there or in its folders, is headed image;pattern (or specimen, id and"
            " class), with the name of each field or of its specimen",
            "keep one of them there"
            if tables
            else "put the table of the set there, or write fields.csv headed image,label and read"
            " the set with data=fields",
        )
    path, classes = tables[0]
    rows, problems = [], []
    for image, name in ids.items():
        found = next((classes[key] for key in keys[image] if key in classes), None)
        if found is None:
            reason = f"{image} is not named in {path}. Fix: add its line, or move it away"
            problems.append(CellError(name, reason))
        else:
            rows.append(FieldRow(name, image, pattern=found[0], intensity=found[1]))
    return rows, problems


def _csv_files(root: Path) -> list[Path]:
    folders = [root, *sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")]
    return [p for f in folders for p in sorted(f.iterdir()) if p.suffix.lower() == ".csv"]


def _read_table(
    path: Path, wanted: set[str], known: Sequence[str]
) -> tuple[Path, dict[str, tuple[str, int]]] | None:
    """Read the class and intensity of each name of a table; None if it names no fields."""
    rows = read_table(path)
    if not rows:
        return None
    names = [name.casefold() for name in rows[0].fields]
    label = next((names.index(name) for name in _LABELS if name in names), None)
    columns = [names.index(name) for name in _NAMES if name in names]
    intensity = names.index("intensity") if "intensity" in names else None
    body = rows[1:]
    if label is None and _is_as_handed_out(
        rows[0]
    ):  # 00001_p0.tif,00001_p0_Mask.tif,class,positive
        columns, label, intensity, body = [0], 2, 3, rows
    if label is None:
        return None
    for column in columns:
        found = [_key(row.field(column)) for row in body]
        # The ids of a table of cells go beyond those of fields.
        if (names[column] != "id" or set(found) <= wanted) and not wanted.isdisjoint(found):
            return path, _classes(path, body, column, label, intensity, known)
    return None


def _is_as_handed_out(row: CsvRow) -> bool:
    return len(row.fields) in (3, 4) and row.fields[0].lower().endswith(SUFFIXES)


def _classes(
    path: Path,
    rows: Sequence[CsvRow],
    column: int,
    label: int,
    intensity: int | None,
    known: Sequence[str],
) -> dict[str, tuple[str, int]]:
    classes, errors = dict[str, tuple[str, int]](), list[str]()
    for row in rows:
        key, name, brightness = _key(row.field(column)), row.field(label), row.field(intensity)
        if canonical_class(name) not in known:
            errors.append(
                f"line {row.line}: unknown class '{name}' (the classes are {', '.join(known)})"
            )
        elif brightness.casefold() not in INTENSITIES:
            errors.append(f"line {row.line}: unknown intensity '{brightness}'")
        elif classes.setdefault(key, (name, INTENSITIES[brightness.casefold()]))[0] != name:
            errors.append(f"line {row.line}: {row.field(column)} was {classes[key][0]} before")
    raise_csv_errors(path, errors, "correct them, or read other classes with data=fields")
    return classes


def _key(name: str) -> str:
    return cell_id(name.replace("\\", "/").rpartition("/")[2]).casefold()
