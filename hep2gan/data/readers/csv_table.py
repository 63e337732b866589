"""Small csv tables, read with errors that name the file and the line."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError, bullet_list, pluralize


class CsvRow(NamedTuple):
    """One row of a csv file: its line number, from 1, and its fields without outer blanks."""

    line: int
    fields: tuple[str, ...]

    def field(self, column: int | None) -> str:
        """Return the field of a column; '' where the row or the table has none."""
        return self.fields[column] if column is not None and column < len(self.fields) else ""


def read_table(path: Path) -> list[CsvRow]:
    """Read all rows that are not blank; commas or semicolons, with or without byte-order mark.

    Raises Hep2ganError when the file is missing, not UTF-8, or not csv.
    """
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [CsvRow(reader.line_num, tuple(f.strip() for f in fields)) for fields in reader]
    except csv.Error as error:
        raise Hep2ganError(
            f"{path}, line {reader.line_num}, cannot be read ({error})",
            "",
            "save the table as comma-separated csv",
        ) from error
    return [row for row in rows if any(row.fields)]


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Hep2ganError(
            f"{path}, line {line}, is not UTF-8 (byte 0x{data[error.start]:02x})",
            "tables must be UTF-8",
            "save the table again with the encoding UTF-8",
        ) from error
    except OSError as error:
        raise Hep2ganError(
            f"{path} cannot be read ({error.strerror})", "", "check the path and its rights"
        ) from error


def check_columns(path: Path, header: CsvRow, required: Sequence[str]) -> dict[str, int]:
    """Find columns by name, ignoring case. Raises Hep2ganError for missing or repeated ones."""
    names = [name.casefold() for name in header.fields]
    missing = [name for name in required if name not in names]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if missing or repeated:
        problem = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(repeated)} twice"
        raise Hep2ganError(
            f"{path}, line {header.line}: the header {problem} ({', '.join(header.fields)})",
            f"it must name {', '.join(required)} once each",
            "correct the first line of the table",
        )
    return {name: column for column, name in enumerate(names)}


def raise_csv_errors(path: Path, errors: Sequence[str], fix: str) -> None:
    """Raise Hep2ganError with all the lines that are wrong; do nothing where there are none."""
    if errors:
        raise Hep2ganError(
            f"{path} has {pluralize(len(errors), 'wrong line')}",
            "",
            f"{fix}:\n{bullet_list(errors, limit=1000)}",
        )
