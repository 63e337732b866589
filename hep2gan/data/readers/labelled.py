"""Images and masks in folders: how each pair is found, and tables that name the class of each."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hep2gan.data.patterns import KNOWN_CLASSES, canonical_class, fold_class
from hep2gan.data.readers.csv_table import CsvRow, check_columns, read_table
from hep2gan.data.readers.files import describe_others, plain_name, walk_files
from hep2gan.data.readers.source import PARTS, CellError, cell_id
from hep2gan.errors import Hep2ganError, pluralize

IMAGE_FOLDERS = ("image", "images", "img", "imgs", "cell", "cells", "crop", "crops")
MASK_FOLDERS = ("mask", "masks")
CELL_SIDE = 1000
"""Pixels; what is longer is a field of cells, as a microscope's camera takes it."""
_MAX_FOLDERS = 10_000
"""A data set has fewer; a home folder may have many more."""
_IMAGE = ("image", "id", "image id", "image_id", "cell", "cell id", "file", "filename", "name")
_LABEL = ("label", "class", "image class", "pattern")


class Place(NamedTuple):
    """What the names of the folders that a file lies in say.

    Attributes:
        layout: Role of each folder: split, images or class.
        split: Name of the folder of a part, such as train, or ''.
        label: Name of the folder of a class, or ''.
    """

    layout: tuple[str, ...]
    split: str
    label: str


class FolderTree(NamedTuple):
    """The images and masks below a folder.

    Attributes:
        root: The folder.
        images: Place of each image.
        masks: Place of each mask, with the stem of its image.
        others: Number and kinds of files that are not read, in words; '' if there are none.
    """

    root: Path
    images: dict[Path, Place]
    masks: dict[Path, tuple[Place, str]]
    others: str


class Pairs(NamedTuple):
    """Masks of images.

    Attributes:
        masks: Mask of each image that has one; None of all images of a set without masks.
        problems: Images without masks, and masks without images, by their file.
    """

    masks: dict[Path, Path | None]
    problems: dict[Path, str]

    def errors(self, ids: Mapping[Path, str]) -> list[CellError]:
        """List the problems.

        Args:
            ids: Names of the cells by their images.

        Returns:
            One error for each.
        """
        return [CellError(ids.get(file, file.stem), why) for file, why in self.problems.items()]


class LabelTable(NamedTuple):
    """A table of images and their classes.

    Attributes:
        path: The file.
        columns: Position of each column by its name in lower case.
        names: Positions of the columns that may name the images.
        label: Position of the column of classes.
        rows: The rows below the header.
    """

    path: Path
    columns: dict[str, int]
    names: tuple[int, ...]
    label: int
    rows: list[CsvRow]


def list_tree(root: Path) -> FolderTree:
    """List the images and masks below a folder.

    Args:
        root: The folder of the set.

    Returns:
        The files, each with what its folders say; results of predictions are left out.

    Raises:
        Hep2ganError: There is no such folder, it has very many folders, or it holds no images.
    """
    if not root.is_dir():
        raise Hep2ganError(
            f"{root} is a file" if root.is_file() else f"{root} does not exist",
            "data.root is a folder of images",
            "set data.root to the folder of the set",
        )
    images, masks, others = dict[Path, Place](), dict[Path, tuple[Place, str]](), list[Path]()
    for number, files in enumerate(islice(walk_files(root), _MAX_FOLDERS + 1)):
        if number == _MAX_FOLDERS:
            raise Hep2ganError(
                f"{root} holds more than {_MAX_FOLDERS:,} folders",
                "a data set has fewer",
                "set data.root to the folder of the set",
            )
        parts = files.path.relative_to(root).parts
        if "overlays" in map(str.casefold, parts):
            continue
        place = _read_place(parts)
        images |= dict.fromkeys(files.images, place)
        masks |= {mask: (place, stem) for mask, stem in files.masks.items()}
        others += files.others
    left_out = describe_others(others)
    if not images:
        held = left_out or (pluralize(len(masks), "mask") if masks else "no images")
        raise Hep2ganError(
            f"{root} holds {held}" + (" and no images" if masks else ""),
            "images are PNG, TIFF, BMP or JPEG",
            "save them as PNG" if others else "set data.root to the folder of the images",
        )
    return FolderTree(root, images, masks, left_out)


def _read_place(parts: Sequence[str]) -> Place:
    roles = [_role(part) for part in parts]
    split, label = (
        "/".join(part for part, role in zip(parts, roles, strict=True) if role == wanted)
        for wanted in ("split", "class")
    )
    return Place(tuple("images" if role == "masks" else role for role in roles), split, label)


def _role(name: str) -> str:
    name = name.casefold()
    if name in PARTS:
        return "split"
    return "images" if name in IMAGE_FOLDERS else "masks" if name in MASK_FOLDERS else "class"


def pair_masks(tree: FolderTree, are_used: bool = True) -> Pairs:
    """Find the mask of each image: beside it, or at the same place below a folder of masks.

    Args:
        tree: The images and masks.
        are_used: Whether to look for masks at all.

    Returns:
        The pairs.

    Raises:
        Hep2ganError: No mask bears the name of an image, or an image has two masks.
    """
    if not tree.masks or not are_used:
        return Pairs(dict.fromkeys(tree.images, None), {})
    stems = Counter(plain_name(image.stem) for image in tree.images)
    by_place = defaultdict[tuple[str, str, str], list[Path]](list)
    for mask, (place, stem) in tree.masks.items():
        by_place[place.split, place.label, plain_name(stem)].append(mask)
    found, problems = dict[Path, Path | None](), dict[Path, str]()
    for image, place in tree.images.items():
        stem = plain_name(image.stem)
        keys = [(place.split, place.label, stem)]
        if stems[stem] == 1:  # Masks without folders of classes, where a name says whose they are.
            keys += [(place.split, "", stem), ("", place.label, stem), ("", "", stem)]
        masks = list(chain.from_iterable(by_place.pop(key, []) for key in dict.fromkeys(keys)))
        if len(masks) > 1:
            raise Hep2ganError(
                f"{image} has {len(masks)} masks: {', '.join(map(str, sorted(masks)))}",
                "a cell has one, beside it or in a folder masks",
                "move the others away",
            )
        if masks:
            found[image] = masks[0]
        else:
            problems[image] = (
                f"{image} has no mask: a set has masks of all cells or of none."
                " Fix: add its mask, or move the image away"
            )
    if not found:
        mask, image = min(tree.masks), min(tree.images)
        raise Hep2ganError(
            f"{tree.root} holds {pluralize(len(tree.masks), 'mask')}, none of which bears the name"
            f" of an image (such as {mask.relative_to(tree.root)}"
            f" and {image.relative_to(tree.root)})",
            f"the mask of {image.name} is called {image.stem}_mask.png or, in a folder masks,"
            f" {image.stem}.png",
            "rename the masks after their images, or read the set without with data.masks=false",
        )
    for mask in chain.from_iterable(by_place.values()):
        problems[mask] = f"{mask} has no image. Fix: add its image, or move the mask away"
    return Pairs(found, problems)


def require_cells(images: Sequence[Path]) -> None:
    """Refuse fields of cells.

    Args:
        images: Some images; only their headers are read.

    Raises:
        Hep2ganError: One is longer than a cell.
    """
    for image in images:
        try:
            with Image.open(image) as opened:
                width, height = opened.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # Packing says what is wrong with it.
        if max(width, height) > CELL_SIDE:
            raise Hep2ganError(
                f"{image} has {width} × {height} pixels, as a field of cells has",
                f"one file is one cell, at most {CELL_SIDE:,} px long",
                "crop the cells out of the fields, or shrink the cells; of the set of 2012, read"
                " the crops with data=icpr2012",
            )


def check_classes(where: str, names: Sequence[str]) -> None:
    """Refuse two spellings of one class.

    Args:
        where: The folder or table, for messages.
        names: The names of the classes.

    Raises:
        Hep2ganError: Two names differ in case, spaces, dashes or underscores alone.
    """
    spellings: dict[str, str] = {}
    for name in names:
        if (other := spellings.setdefault(fold_class(name), name)) != name:
            raise Hep2ganError(
                f"{where} has the class '{other}' and the class '{name}'",
                "a class has one spelling",
                f"call both '{other}'",
            )


def describe_classes(names: Sequence[str]) -> list[str]:
    """Note names that are known beside others that may be no classes.

    Args:
        names: The names of the classes.

    Returns:
        The note, if there is one.
    """
    strange = [name for name in names if canonical_class(name) not in KNOWN_CLASSES]
    if not strange or len(strange) == len(names):
        return []
    return [f"classes of names that no known set has, beside known ones: {', '.join(strange)}"]


def find_label_table(folders: Sequence[Path]) -> LabelTable | None:
    """Find the table of classes in some folders, without those below them.

    Args:
        folders: The folders.

    Returns:
        The table; None if no csv file has columns of images and of classes.

    Raises:
        Hep2ganError: Several have.
    """
    paths = sorted({p for f in folders for p in f.iterdir() if p.suffix.lower() == ".csv"})
    tables = [table for path in paths if (table := _read_label_table(path)) is not None]
    if len(tables) > 1:
        raise Hep2ganError(
            f"several tables name classes: {', '.join(str(table.path) for table in tables)}",
            "one table names the class of each image",
            "keep one there, and move the others away",
        )
    return tables[0] if tables else None


def _read_label_table(path: Path) -> LabelTable | None:
    rows = read_table(path) if path.is_file() and path.name[0] != "." else []
    names = [name.casefold() for name in rows[0].fields] if rows else []
    images = [name for name in _IMAGE if name in names]
    label = next((name for name in _LABEL if name in names), None)
    if not images or label is None or "mask" in names:
        return None
    columns = check_columns(path, rows[0], (*images, label))
    return LabelTable(path, columns, tuple(columns[i] for i in images), columns[label], rows[1:])


def rows_by_image(
    table: LabelTable, images: Sequence[Path]
) -> tuple[dict[Path, CsvRow], list[CellError]]:
    """Find the row of each image.

    Args:
        table: The table; its names may lack suffix and leading zeros.
        images: The images.

    Returns:
        The row of each image that has one, and what is wrong with the others.

    Raises:
        Hep2ganError: The table names none of the images, or one twice, or an image no class.
    """
    paths: dict[str, Path] = {}
    for image in images:
        if (other := paths.setdefault(cell_id(image.name), image)) != image:
            raise Hep2ganError(
                f"{other} and {image} have the same id",
                f"{table.path} names images by their id",
                "move one of them away with its mask",
            )
    columns = {at: [_row_id(row, at) for row in table.rows] for at in table.names}
    column = max(columns, key=lambda at: len(paths.keys() & set(columns[at])))
    found, problems = dict[Path, CsvRow](), list[CellError]()
    for row, name in zip(table.rows, columns[column], strict=True):
        if not name or not row.field(table.label) or paths.get(name) in found:
            what = "names no image" if not name else "names no class"
            raise Hep2ganError(
                f"{table.path}, line {row.line}, "
                + (f"names {name} again" if paths.get(name) in found else what),
                "each line names one image and its class",
                "correct the line",
            )
        if name in paths:
            found[paths[name]] = row
        else:
            where = f"{table.path}, line {row.line}"
            problems.append(
                CellError(name, f"{where}, names an image that is not there. Fix: add the image")
            )
    if not found:
        raise Hep2ganError(
            f"{table.path} names other files than those of {images[0].parent}"
            f" (such as {table.rows[0].field(column) if table.rows else 'none'}"
            f" and {images[0].name})",
            "it names each image by its file, with or without suffix",
            "put the images of the table there, or correct its names",
        )
    problems += [
        CellError(name, f"{path} is not named in {table.path}. Fix: add its line, or move it away")
        for name, path in paths.items()
        if path not in found
    ]
    return found, problems


def _row_id(row: CsvRow, column: int) -> str:
    return cell_id(row.field(column).replace("\\", "/").rpartition("/")[2])
