"""Which specimen each field is of: by a table, or by the names of the files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.readers.csv_table import check_columns, raise_csv_errors, read_table
from hep2gan.data.readers.files import plain_name
from hep2gan.data.readers.image import SUFFIXES
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.inference.predict import InputImage

_POSITION = re.compile(r"_p\d+$", re.IGNORECASE)


class FieldSpecimens(NamedTuple):
    """The specimen of each field.

    Attributes:
        names: Name of the specimen by the file of the field.
        rule: How they were told, in words.
    """

    names: dict[Path, str]
    rule: str


def name_specimens(fields: Sequence[InputImage], table: Path | None) -> FieldSpecimens:
    """Find the specimen of each field.

    Without a table, fields whose names differ in `_p` and a number at their end alone, such as
    `00012_p0` and `00012_p1`, are of one specimen; any other field is one of its own.

    Args:
        fields: The fields.
        table: A csv file headed image,specimen; other columns do not matter. Images are named as
            paths relative to it, or by file name, with or without suffix.

    Returns:
        The specimens.

    Raises:
        Hep2ganError: The table cannot be read, names an image twice, or does not name each field.
    """
    if table is not None:
        return _by_table(fields, table)
    names = {field.path: _POSITION.sub("", field.name.as_posix()) for field in fields}
    count = len(set(names.values()))
    if any(_POSITION.search(field.name.name) for field in fields):
        rule = "by the part of the name before _p and a number"
    else:
        rule = "each field is one of its own, as no name ends in _p and a number"
    return FieldSpecimens(names, f"{pluralize(count, 'specimen')}: {rule}")


def _by_table(fields: Sequence[InputImage], table: Path) -> FieldSpecimens:
    rows = read_table(table)
    if not rows:
        raise Hep2ganError(f"{table} is empty", "it names image and specimen", "fill the table")
    columns = check_columns(table, rows[0], ("image", "specimen"))
    by_key: dict[str, str] = {}
    errors = []
    for row in rows[1:]:
        image, specimen = row.field(columns["image"]), row.field(columns["specimen"])
        key = _key(image)
        if not image or not specimen:
            errors.append(f"line {row.line}: the {'specimen' if image else 'image'} is missing")
        elif by_key.setdefault(key, specimen) != specimen:
            errors.append(f"line {row.line}: {image} is of {by_key[key]} in another line")
    raise_csv_errors(table, errors, "correct these lines")
    names, unnamed = {}, []
    for field in fields:
        found = [by_key[key] for key in _keys(field.path, table.parent) if key in by_key]
        if found:
            names[field.path] = found[0]
        else:
            unnamed.append(str(field.path))
    if unnamed:
        example = next(iter(by_key), "nothing")
        raise Hep2ganError(
            f"{table} does not name {pluralize(len(unnamed), 'field')}; it names {example}, …\n"
            f"{bullet_list(unnamed)}\n",
            "specimens=TABLE says of each field which specimen it is of",
            "add a line for each, or leave specimens out: then names that end in _p0, _p1, … are"
            " fields of one specimen",
        )
    count = len(set(names.values()))
    return FieldSpecimens(names, f"{pluralize(count, 'specimen')}: by {table}")


def _key(name: str) -> str:
    path = Path(name.replace("\\", "/"))
    return plain_name(
        (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()
    )


def _keys(path: Path, folder: Path) -> list[str]:
    """Names by which a table in `folder` may call a file, the most exact first."""
    real, root = path.resolve(), folder.resolve()
    below = [str(real.relative_to(root))] if real.is_relative_to(root) else []
    return [_key(name) for name in (*below, str(path), path.name)]
