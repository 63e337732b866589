"""The set of the ICPR 2012 contest (MIVIA): crops of cells and a table of their patterns."""

from pathlib import Path

from hep2gan.data.patterns import canonical_class
from hep2gan.data.readers.csv_table import CsvRow, raise_csv_errors
from hep2gan.data.readers.labelled import (
    FolderTree,
    LabelTable,
    check_classes,
    find_label_table,
    list_tree,
    pair_masks,
    require_cells,
    rows_by_image,
)
from hep2gan.data.readers.source import (
    INTENSITIES,
    UNKNOWN,
    DataSource,
    RawCell,
    RawCells,
    cell_id,
    name_ids,
    natural_key,
)
from hep2gan.errors import Hep2ganError

CLASSES = (
    "homogeneous", "fine speckled", "coarse speckled", "nucleolar", "centromere", "cytoplasmic",
)  # fmt: skip
_CELLS = "cells"
_SPECIMEN = ("specimen", "image", "image id", "image_id")
_HEADER = "a table headed ID;pattern names the crops NNN.png, which lie beside it or in Cells/"


class Icpr2012Source(DataSource):
    """data=icpr2012: crops and table of the 2012 contest; for its keys see `DataSource`."""

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the cells in the folder `root`; see `DataSource.read`."""
        return read_icpr2012(self.folder, self.masks is True)


def read_icpr2012(root: Path, with_masks: bool = True) -> RawCells:
    """Read the crops of the set, in the order of their ids; its fields are left out.

    The specimen of a cell is its column specimen, else its column image or image id: in this set
    each field is of another patient. Both, and intensity, may be absent.

    Args:
        root: The folder with the table, with the crops beside it or in its folder Cells; or Cells.
        with_masks: Whether to look for masks.

    Returns:
        The cells; their classes are spelled as in the table.

    Raises:
        Hep2ganError: There is no table or no crop, or the table has other classes.
    """
    root = Path(root)
    tree = list_tree(_cells_folder(root))
    table = find_label_table(sorted({root, tree.root}))
    if table is None and tree.root == root:
        table = find_label_table([root.parent])
    if table is None or not {"id", "pattern"} <= table.columns.keys():
        raise Hep2ganError(
            f"{root} holds no table of the set of 2012", _HEADER, "set data.root to its folder"
        )
    tree = FolderTree(
        tree.root,
        {image: place for image, place in tree.images.items() if not place.label},
        {mask: found for mask, found in tree.masks.items() if not found[0].label},
        tree.others,
    )
    if not tree.images:
        raise Hep2ganError(f"{tree.root} holds no crops", _HEADER, "unpack the crops there")
    table = table._replace(names=(table.columns["id"],))
    rows, problems = rows_by_image(table, list(tree.images))
    pairs = pair_masks(tree, with_masks)
    require_cells(list(tree.images)[:1])
    _check_rows(table, list(rows.values()))
    specimen = next((table.columns[name] for name in _SPECIMEN if name in table.columns), None)
    labels = name_ids(row.field(table.label) for row in rows.values())
    check_classes(str(table.path), list(labels))
    specimens = name_ids(row.field(specimen) for row in rows.values())
    intensity = table.columns.get("intensity")
    cells = [
        RawCell(
            cell_id(image.name),
            image,
            pairs.masks[image],
            labels[row.field(table.label)],
            specimen=specimens.get(row.field(specimen), UNKNOWN),
            intensity=INTENSITIES[row.field(intensity).casefold()],
        )
        for image, row in rows.items()
        if image in pairs.masks
    ]
    fields = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name.casefold() == "images")
    has_masks = any(cell.mask for cell in cells)
    return RawCells(
        source=f"ICPR 2012 set in {root} (crops in {tree.root.name}, classes from"
        f" {table.path.name}, {'masks beside the images' if has_masks else 'no masks'})",
        classes=tuple(labels),
        cells=sorted(cells, key=lambda cell: natural_key(cell.id)),
        specimens=tuple(specimens),
        problems=(*pairs.errors({}), *problems),
        notes=(
            *([f"left out: {tree.others}"] if tree.others else []),
            *[f"left out: {name}/, which holds fields of cells" for name in fields],
        ),
    )


def _cells_folder(root: Path) -> Path:
    """Return the folder of the crops, below the root or itself."""
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return next((path for path in folders if path.name.casefold() == _CELLS), root)


def _check_rows(table: LabelTable, rows: list[CsvRow]) -> None:
    errors = []
    for row in rows:
        label, intensity = row.field(table.label), row.field(table.columns.get("intensity"))
        if canonical_class(label) not in CLASSES:
            errors.append(
                f"line {row.line}: unknown class '{label}' (the classes are {', '.join(CLASSES)})"
            )
        if intensity.casefold() not in INTENSITIES:
            errors.append(f"line {row.line}: unknown intensity '{intensity}'")
    raise_csv_errors(table.path, errors, "correct them, or read other classes with data=folders")
