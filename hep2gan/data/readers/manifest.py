"""Any set of cells described by a table: `manifest.csv`."""

from pathlib import Path, PurePosixPath

from hep2gan.data.readers.csv_table import CsvRow, check_columns, read_table, refuse_csv_lines
from hep2gan.data.readers.raw import INTENSITIES, UNKNOWN, RawCell, RawCells, name_ids, path_problem
from hep2gan.errors import Hep2ganError

NAME = "manifest.csv"
REQUIRED = ("image", "mask", "label")
OPTIONAL = ("specimen", "intensity", "split")
PARTS = {
    "": UNKNOWN,
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}


def read_manifest(root_or_csv: Path) -> RawCells:
    """Read a table with the header `image,mask,label[,specimen][,intensity][,split]`.

    Paths are relative to the folder of the table and may not leave it. Cells keep the order of the
    table. Classes are the labels that occur, sorted; specimens likewise. The id of a cell is its
    image's path without suffix.
    `intensity` is positive or intermediate, `split` train, validation or test; both may be empty.
    Raises Hep2ganError for a missing table, a wrong header, and with every line that is wrong.
    """
    path = Path(root_or_csv)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        fix = f"set data.root to a csv file, or to a folder that holds {NAME}"
        rule = f"its header is {','.join(REQUIRED)}[,{'][,'.join(OPTIONAL)}]"
        raise Hep2ganError(f"{path} does not exist", rule, fix)
    rows = read_table(path)
    if len(rows) < 2:
        what = "names no cells" if rows else "is empty"
        raise Hep2ganError(f"{path} {what}", "", "write one line per cell below the header")
    column = check_columns(path, rows[0], REQUIRED)
    _refuse_wrong(path, column, rows[1:])
    return _cells(path, column, rows[1:])


def _refuse_wrong(path: Path, column: dict[str, int], rows: list[CsvRow]) -> None:
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for row in rows:
        why = _wrong(row, column)
        image = str(PurePosixPath(row.field(column["image"])))
        if not why and image in seen:
            why = f"{image} is already on line {seen[image]}: a cell has one line"
        seen.setdefault(image, row.line)
        if why:
            wrong.append(f"line {row.line}: {why}")
    refuse_csv_lines(path, wrong, "correct these lines")


def _wrong(row: CsvRow, column: dict[str, int]) -> str:
    if len(row.fields) > len(column):
        return f"{len(row.fields)} columns, but the header names {len(column)}"
    for name in REQUIRED:
        if not row.field(column[name]):
            return f"no {name}"
    for name in ("image", "mask"):
        file = row.field(column[name])
        if reason := path_problem(file):
            return f"the {name} '{file}' {reason}: copy the files there and use relative paths"
    intensity = row.field(column.get("intensity"))
    if intensity.casefold() not in INTENSITIES:
        return f"unknown intensity '{intensity}' (positive, intermediate or empty)"
    part = row.field(column.get("split"))
    known = part.casefold() in PARTS
    return "" if known else f"unknown split '{part}' (train, validation, test or empty)"


def _cells(path: Path, column: dict[str, int], rows: list[CsvRow]) -> RawCells:
    labels = name_ids(row.field(column["label"]) for row in rows)
    specimens = name_ids(row.field(column.get("specimen")) for row in rows)
    ids = _ids([row.field(column["image"]) for row in rows])
    cells = [
        RawCell(
            id=cell,
            image=path.parent / row.field(column["image"]),
            mask=path.parent / row.field(column["mask"]),
            label=labels[row.field(column["label"])],
            specimen=specimens.get(row.field(column.get("specimen")), UNKNOWN),
            intensity=INTENSITIES[row.field(column.get("intensity")).casefold()],
            part=PARTS[row.field(column.get("split")).casefold()],
        )
        for cell, row in zip(ids, rows, strict=True)
    ]
    extra = sorted(column.keys() - {*REQUIRED, *OPTIONAL, ""})
    notes = (f"columns of {path} that are not used: {', '.join(extra)}",) if extra else ()
    return RawCells(f"table {path}", tuple(labels), cells, specimens=tuple(specimens), notes=notes)


def _ids(images: list[str]) -> list[str]:
    """Paths without suffix, or with it where two images differ in nothing else."""
    paths = [PurePosixPath(image) for image in images]
    short = [str(path.with_suffix("")) for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]
