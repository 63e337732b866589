"""The ICPR 2016 Task-1 set (I3A), in the three layouts that are in circulation.

1. Flat, `gt_training.csv` without header: `00001.png,00001_Mask.png,Homogeneous,positive`.
2. Flat, any csv file with the header `Image ID,Image class`; ids `00001` or `1`.
3. One folder per class, `Homogeneous/00001.png` + `Homogeneous/00001_Mask.png`, no csv.

An optional `specimens.csv` (header `image,specimen`) beside them says which cells belong together.
The set is handed out by its owners and is not part of this software.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.patterns import CLASSES, COUNTS, parse_label, unknown_class_message
from hep2gan.data.readers.csv_table import CsvRow, check_columns, raise_csv_errors, read_table
from hep2gan.data.readers.files import (
    FolderFiles,
    describe_others,
    list_files,
    names_a_file,
)
from hep2gan.data.readers.icpr2016_advice import (
    HEADER,
    OFFICIAL_TABLE,
    explain_no_cells,
    explain_no_images,
)
from hep2gan.data.readers.image import SUFFIXES
from hep2gan.data.readers.source import (
    INTENSITIES,
    UNKNOWN,
    CellError,
    DataSource,
    RawCell,
    RawCells,
    cell_id,
    name_ids,
    natural_key,
    path_problem,
)
from hep2gan.errors import Hep2ganError

SPECIMENS = "specimens.csv"


class FolderListing(NamedTuple):
    """Images and masks of one folder by the id of their cell.

    Attributes:
        path: The folder.
        images: Image of each cell.
        masks: Mask of each cell.
        others: Files of kinds that are not read.
    """

    path: Path
    images: dict[str, Path]
    masks: dict[str, Path]
    others: list[Path]

    def unlisted(self, listed: set[str], table: str) -> list[CellError]:
        """Report the images and masks of cells that a table does not list.

        Args:
            listed: Ids that the table lists.
            table: The table, for messages.

        Returns:
            One error for each other cell.
        """
        files = {**self.masks, **self.images}
        return [
            CellError(
                cell,
                f"{files[cell]} is not named in {table}: every image needs its class."
                f" Fix: add its line to {table}, or move the file away",
            )
            for cell in sorted(files.keys() - listed)
        ]


class ClassTable(NamedTuple):
    """A csv table of cells and classes: without header, or with `Image ID,Image class`.

    Attributes:
        path: The file.
        header: The header; None if there is none.
        rows: The other rows.
    """

    path: Path
    header: CsvRow | None
    rows: list[CsvRow]


class Icpr2016Source(DataSource):
    """data=icpr2016: the ICPR 2016 Task-1 set; for its keys see `DataSource`."""

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the cells in the folder `root`; see `DataSource.read`."""
        return read_icpr2016(self.folder)


def read_icpr2016(root: Path) -> RawCells:
    """Read the set from its folder, in any of the three layouts, sorted by id.

    Files that the table names but that are missing are reported by packing.

    Args:
        root: The folder of the set.

    Returns:
        The cells.

    Raises:
        Hep2ganError: The folder is missing or empty; there is no table or several; a class is
            unknown, an id occurs twice, or a table is not UTF-8. The message names the file, the
            line and the fix.
    """
    root = Path(root)
    if not root.is_dir():
        raise Hep2ganError(
            f"{root} is a file" if root.is_file() else f"{root} does not exist",
            "the ICPR 2016 set is a folder",
            "set data.root to the folder of the set; without the set, use data=phantom",
        )
    table = _find_table(root)
    raw = _read_class_folders(root) if table is None else _read_flat(root, table)
    if not raw.cells:
        raise explain_no_cells(root, _list_tables(root))
    if not any(cell.mask and names_a_file(cell.mask) for cell in raw.cells):
        # The table as handed out names masks, also where the images are passed on alone.
        raw = raw._replace(cells=[cell._replace(mask=None) for cell in raw.cells])
    specimens, notes = _read_specimens(root, raw)
    numbers = name_ids(specimens.values())
    cells = [
        cell._replace(specimen=numbers.get(specimens.get(cell.id, ""), UNKNOWN))
        for cell in sorted(raw.cells, key=lambda cell: natural_key(cell.id))
    ]
    return raw._replace(cells=cells, specimens=tuple(numbers), notes=raw.notes + notes)


def _raw_cells(
    root: Path,
    layout: str,
    cells: Iterable[RawCell],
    problems: Iterable[CellError],
    others: Iterable[Path],
) -> RawCells:
    left_out = describe_others(others)
    return RawCells(
        source=f"ICPR 2016 set in {root} ({layout})",
        classes=CLASSES,
        cells=tuple(cells),
        published_counts=COUNTS,
        problems=tuple(problems),
        notes=(f"left out: {left_out}",) if left_out else (),
    )


def _find_table(root: Path) -> ClassTable | None:
    """Find the table of classes; None if no csv file looks like one.

    Raises:
        Hep2ganError: Several do and none is called gt_training.csv, or a csv file cannot be read.
    """
    official = root / OFFICIAL_TABLE
    paths = [official] if official.is_file() else _list_tables(root)
    tables = [table for table in map(_recognise_table, paths) if table is not None]
    if len(tables) > 1:
        names = ", ".join(table.path.name for table in tables)
        raise Hep2ganError(
            f"{root} holds several tables of classes: {names}",
            "",
            f"keep one, or call the right one {OFFICIAL_TABLE}",
        )
    return tables[0] if tables else None


def _list_tables(root: Path) -> list[Path]:
    files = (p for p in root.iterdir() if p.suffix.lower() == ".csv" and p.name[0] != ".")
    return sorted(p for p in files if p.name.lower() != SPECIMENS)


def _recognise_table(path: Path) -> ClassTable | None:
    rows = read_table(path)
    first = rows[0].fields if rows else ()
    if set(HEADER) <= {name.casefold() for name in first}:
        return ClassTable(path, rows[0], rows[1:])
    is_official = len(first) in (3, 4) and first[0].lower().endswith(SUFFIXES)
    return ClassTable(path, None, rows) if is_official else None


def _read_flat(root: Path, table: ClassTable) -> RawCells:
    """Read the cells that a table lists, in its order; unlisted images become problems.

    Raises:
        Hep2ganError: Lines have an unknown class or intensity, a repeated id, a path, or too few
            columns; all are listed.
    """
    folder, name = _list_folder(root), table.path.name
    if table.header is None:
        layout = "flat, table as handed out"
        files = {path.name for path in (*folder.images.values(), *folder.masks.values())}
        parse = partial(_parse_row, folder, files)
    else:
        layout = "flat, table with header"
        columns = check_columns(table.path, table.header, HEADER)
        parse = partial(_parse_headed_row, folder, columns)
    cells, errors, line_of = [], [], dict[str, int]()
    for row in table.rows:
        parsed = parse(row)
        if isinstance(parsed, RawCell) and parsed.id in line_of:
            parsed = f"the id {parsed.id} is already on line {line_of[parsed.id]}"
        if isinstance(parsed, str):
            errors.append(f"line {row.line}: {parsed}")
        else:
            line_of[parsed.id] = row.line
            cells.append(parsed)
    raise_csv_errors(table.path, errors, "correct these lines")
    if cells and not any(names_a_file(cell.image) for cell in cells):
        raise explain_no_images(table.path, len(cells))
    unlisted = folder.unlisted(set(line_of), name)
    return _raw_cells(root, f"{layout}: {name}", cells, unlisted, folder.others)


def _list_folder(path: Path) -> FolderListing:
    """List the images and masks of a folder, without its subfolders.

    Raises:
        Hep2ganError: Two files are the same cell (`1.png` and `00001.png`).
    """
    return _by_cell(list_files(path))


def _by_cell(files: FolderFiles) -> FolderListing:
    folder = FolderListing(files.path, {}, {}, files.others)
    images = {image: image.stem for image in files.images}
    for found, stems in ((folder.images, images), (folder.masks, files.masks)):
        for path, stem in stems.items():
            cell = cell_id(stem)
            if (other := found.setdefault(cell, path)) != path:
                raise Hep2ganError(
                    f"{other} and {path} are both the cell {cell}",
                    "a cell has one image and one mask",
                    "move one of them away, an image with its mask",
                )
    return folder


def _parse_row(folder: FolderListing, files: set[str], row: CsvRow) -> RawCell | str:
    """Parse a row of image, mask, class, intensity to a cell, or to what is wrong with it."""
    if len(row.fields) not in (3, 4):
        return f"{len(row.fields)} columns instead of image, mask, class, intensity"
    image, mask, name, intensity = (*row.fields, "")[:4]
    cell = cell_id(image)
    image_file, mask_file = (
        folder.path / file if file in files else others.get(cell, folder.path / file)
        for file, others in ((image, folder.images), (mask, folder.masks))
    )
    if intensity.casefold() not in INTENSITIES:
        return f"unknown intensity '{intensity}' (positive or intermediate)"
    problem = _file_name_problem(image) or _file_name_problem(mask)
    return problem or _raw_cell(
        cell, image_file, mask_file, name, INTENSITIES[intensity.casefold()]
    )


def _parse_headed_row(folder: FolderListing, columns: dict[str, int], row: CsvRow) -> RawCell | str:
    """Parse a row of image id and class to a cell, or to what is wrong with it."""
    number, name = (row.field(columns[column]) for column in HEADER)
    cell = cell_id(number)
    image = folder.images.get(cell, folder.path / f"{cell}.png")
    return _file_name_problem(number) or _raw_cell(cell, image, folder.masks.get(cell), name)


def _file_name_problem(name: str) -> str:
    if not name:
        return "an empty image or mask name"
    if "/" in name or path_problem(name):
        return f"'{name}' is not the name of a file in this folder"
    return ""


def _raw_cell(
    cell: str, image: Path, mask: Path | None, class_name: str, intensity: int = UNKNOWN
) -> RawCell | str:
    label = parse_label(class_name)
    if label is None:
        return unknown_class_message(class_name)
    return RawCell(cell, image, mask, label, intensity=intensity)


def _read_class_folders(root: Path) -> RawCells:
    """Read one folder per class.

    Raises:
        Hep2ganError: A folder of images is not named after a class, or an id occurs twice.
    """
    files = list_files(root)
    folders = [_list_folder(path) for path in files.folders]
    others = [*files.others, *(file for folder in folders for file in folder.others)]
    folders = [folder for folder in folders if folder.images or folder.masks]
    label_of = {
        folder.path: label
        for folder in folders
        if (label := parse_label(folder.path.name)) is not None
    }
    strangers = [folder.path.name for folder in folders if folder.path not in label_of]
    if label_of and strangers:
        raise Hep2ganError(
            f"folders of {root}: {'; '.join(map(unknown_class_message, strangers))}",
            "",
            f"rename it, move it away, or read any classes with data=folders data.root={root}",
        )
    cells: dict[str, RawCell] = {}
    problems: list[CellError] = []
    for folder in folders if label_of else ():
        for cell, image in folder.images.items():
            if cell in cells:
                raise Hep2ganError(
                    f"{cells[cell].image} and {image} have the same id {cell}",
                    "ids occur once in the set",
                    "move one of them away with its mask",
                )
            cells[cell] = RawCell(cell, image, folder.masks.get(cell), label_of[folder.path])
        problems += [
            CellError(
                cell, f"{mask} has no image {cell}.png beside it. Fix: add it, or move the mask"
            )
            for cell, mask in folder.masks.items()
            if cell not in folder.images
        ]
    loose = _by_cell(files).unlisted(set(), "a folder of its class") if cells else []
    return _raw_cells(root, "one folder per class", cells.values(), problems + loose, others)


def _read_specimens(root: Path, raw: RawCells) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the names of specimens by cell id, with a note if some cells have none."""
    path = root / SPECIMENS
    if not path.is_file():
        return {}, ()
    rows = read_table(path)
    if not rows:
        raise Hep2ganError(f"{path} is empty", "its header is image,specimen", "write or remove it")
    column = check_columns(path, rows[0], ("image", "specimen"))
    ids = {cell.id for cell in raw.cells} | {problem.id for problem in raw.problems}
    specimens: dict[str, str] = {}
    errors = []
    for row in rows[1:]:
        cell = cell_id(row.field(column["image"]))
        if cell not in ids or cell in specimens:
            problem = "is named twice" if cell in specimens else "is not a cell of the set"
            errors.append(f"line {row.line}: {cell or 'an empty name'} {problem}")
        specimens[cell] = row.field(column["specimen"])
    raise_csv_errors(path, errors, "correct these lines")
    without = sum(not specimens.get(cell.id) for cell in raw.cells)
    note = f"{without:,} cells are not in {path} or have no specimen there"
    return specimens, (note,) if without else ()
