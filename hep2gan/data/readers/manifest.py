"""Any set of cells that a table describes: `manifest.csv`."""

import re
from collections.abc import Iterable
from pathlib import Path

from hep2gan.data.readers.csv_table import CsvRow, check_columns, raise_csv_errors, read_table
from hep2gan.data.readers.files import FileFinder, plain_name
from hep2gan.data.readers.source import (
    INTENSITIES,
    PARTS,
    UNKNOWN,
    DataSource,
    RawCell,
    RawCells,
    ids_of_paths,
    name_ids,
    path_problem,
)
from hep2gan.errors import Hep2ganError

NAME = "manifest.csv"
_WHOLE = re.compile(r"^(\d+)\.0+$")
REQUIRED = ("image", "label")
OPTIONAL = ("mask", "specimen", "intensity", "split")


class ManifestSource(DataSource):
    """data=manifest: any cells, listed in a csv file; for its keys see `DataSource`."""

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the cells that the csv file lists; see `DataSource.read`."""
        return read_manifest(self.folder)


def read_manifest(root_or_csv: Path) -> RawCells:
    """Read a table with the header `image,label[,mask][,specimen][,intensity][,split]`.

    Paths are relative to the folder of the table and may not leave it; `FileFinder` finds them.
    Cells keep the order of the table. Classes are the labels that occur, sorted, and so are
    specimens. The id of a cell is the path of its image without suffix. `intensity` is positive or
    intermediate, `split` is train, validation or test; these and `mask` may be empty.

    Args:
        root_or_csv: The table, or a folder with a `manifest.csv`.

    Returns:
        The cells.

    Raises:
        Hep2ganError: The table is missing, its header is wrong, lines are wrong (all are listed),
            or a label or specimen has two spellings.
    """
    path = Path(root_or_csv)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise Hep2ganError(
            f"{path} does not exist",
            f"its header is {','.join(REQUIRED)}[,{'][,'.join(OPTIONAL)}]",
            f"set data.root to a csv file, or to a folder that holds {NAME}",
        )
    rows = read_table(path)
    if len(rows) < 2:
        problem = "names no cells" if rows else "is empty"
        raise Hep2ganError(f"{path} {problem}", "", "write one line per cell below the header")
    column = check_columns(path, rows[0], REQUIRED)
    finder = FileFinder(path.parent)
    _check_rows(path, column, rows[1:], finder)
    for name in ("label", "specimen"):
        check_spellings(path, name, [row.field(column.get(name)) for row in rows[1:]])
    return _build_cells(path, column, rows[1:], finder)


def _check_rows(path: Path, column: dict[str, int], rows: list[CsvRow], finder: FileFinder) -> None:
    errors: list[str] = []
    line_of: dict[Path, int] = {}
    for row in rows:
        problem = _row_problem(row, column)
        if not problem:
            image = finder.find(row.field(column["image"]))
            if (first := line_of.setdefault(image, row.line)) != row.line:
                name = image.relative_to(path.parent)
                problem = f"{name} is already on line {first}: a cell has one line"
        if problem:
            errors.append(f"line {row.line}: {problem}")
    raise_csv_errors(path, errors, "correct these lines")


def check_spellings(path: Path, name: str, values: Iterable[str]) -> None:
    """Refuse 'Golgi' beside 'golgi' and '1' beside '1.0', which would be two classes."""
    spellings: dict[str, str] = {}
    for value in values:
        spelling = _WHOLE.sub(r"\1", plain_name(" ".join(value.split())))
        if (other := spellings.setdefault(spelling, value)) != value:
            raise Hep2ganError(
                f"{path} has the {name} '{other}' and the {name} '{value}'",
                f"a {name} has one spelling",
                "choose one of the two in the whole table",
            )


def _row_problem(row: CsvRow, column: dict[str, int]) -> str:
    if any(row.fields[max(column.values()) + 1 :]):
        return f"{len(row.fields)} columns, but the header names {len(column)}"
    for name in REQUIRED:
        if not row.field(column[name]):
            return f"no {name}"
    for name in ("image", "mask"):
        file = row.field(column.get(name))
        if file and (reason := path_problem(file)):
            return f"the {name} '{file}' {reason}: copy the files there and use relative paths"
    for name, known, options in (
        ("intensity", INTENSITIES, "positive, intermediate"),
        ("split", PARTS, "train, validation, test"),
    ):
        value = row.field(column.get(name))
        if value.casefold() not in known:
            return f"unknown {name} '{value}' ({options} or empty)"
    return ""


def _build_cells(
    path: Path, column: dict[str, int], rows: list[CsvRow], finder: FileFinder
) -> RawCells:
    labels = name_ids(row.field(column["label"]) for row in rows)
    specimens = name_ids(row.field(column.get("specimen")) for row in rows)
    images = [finder.find(row.field(column["image"])) for row in rows]
    ids = ids_of_paths([image.relative_to(path.parent) for image in images])
    cells = [
        RawCell(
            id=cell,
            image=image,
            mask=finder.find(mask) if (mask := row.field(column.get("mask"))) else None,
            label=labels[row.field(column["label"])],
            specimen=specimens.get(row.field(column.get("specimen")), UNKNOWN),
            intensity=INTENSITIES[row.field(column.get("intensity")).casefold()],
            part=PARTS[row.field(column.get("split")).casefold()],
        )
        for cell, image, row in zip(ids, images, rows, strict=True)
    ]
    extra = sorted(column.keys() - {*REQUIRED, *OPTIONAL})
    notes = (f"columns of {path} that are not used: {', '.join(extra)}",) if extra else ()
    return RawCells(f"table {path}", tuple(labels), cells, specimens=tuple(specimens), notes=notes)
