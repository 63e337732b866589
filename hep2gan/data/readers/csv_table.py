"""Small csv tables, read with errors that name the file and the line."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError, bullet_list, pluralize

_MISSING = re.compile(r"nan|<na>|#n/a", re.IGNORECASE)
"""What pandas and Excel write for a value that is not there."""


class CsvRow(NamedTuple):
    """One row of a csv file.

    Attributes:
        line: Line number, from 1.
        fields: Fields without surrounding spaces; '' for missing values.
    """

    line: int
    fields: tuple[str, ...]

    def field(self, column: int | None) -> str:
        """Return the field of a column.

        Args:
            column: Position of the column; None for a column that the table does not have.

        Returns:
            The field, or '' if the row or the table has none.
        """
        return self.fields[column] if column is not None and column < len(self.fields) else ""


def read_table(path: Path) -> list[CsvRow]:
    """Read all rows of a csv file that are not empty, without the empty columns at its end.

    Args:
        path: The file: UTF-8, separated by commas, semicolons or tabs, with or without byte-order
            mark.

    Returns:
        The rows, the header included.

    Raises:
        Hep2ganError: The file is missing, not UTF-8, or not csv.
    """
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [CsvRow(reader.line_num, tuple(map(_value, fields))) for fields in reader]
    except csv.Error as error:
        raise Hep2ganError(
            f"{path}, line {reader.line_num}, cannot be read ({error})",
            "",
            "look there for a quote that is not closed, or save the table as csv again",
        ) from error
    rows = [row for row in rows if any(row.fields)]
    width = max((at for row in rows for at, field in enumerate(row.fields, 1) if field), default=0)
    return [row._replace(fields=row.fields[:width]) for row in rows]


def _value(field: str) -> str:
    return "" if _MISSING.fullmatch(field.strip()) else field.strip()


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
            f"{path} cannot be read ({error.strerror})", "", "check the path and its permissions"
        ) from error


def check_columns(path: Path, header: CsvRow, required: Sequence[str]) -> dict[str, int]:
    """Find the columns of a table by name, ignoring case.

    Args:
        path: The file, for messages.
        header: First row of the table.
        required: Names that must occur.

    Returns:
        Position of each column by its name in lower case.

    Raises:
        Hep2ganError: A required column is missing, or a name occurs twice.
    """
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
    return {name: column for column, name in enumerate(names) if name}


def raise_csv_errors(path: Path, errors: Sequence[str], fix: str) -> None:
    """Raise an error that lists all wrong lines; return if there is none.

    Args:
        path: The file.
        errors: One message for each wrong line.
        fix: What the user can do, in the imperative.

    Raises:
        Hep2ganError: There are wrong lines.
    """
    if errors:
        raise Hep2ganError(
            f"{path} has {pluralize(len(errors), 'wrong line')}",
            "",
            f"{fix}:\n{bullet_list(errors, limit=1000)}",
        )
