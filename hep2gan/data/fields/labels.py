"""Label images and binary masks of fields: reading them, and finding that of a field."""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.decoding import Pixels, read_pixels
from hep2gan.data.readers.files import FolderFiles, plain_name
from hep2gan.data.readers.image import SUFFIXES
from hep2gan.data.readers.mask import read_mask
from hep2gan.data.readers.source import path_problem
from hep2gan.errors import Hep2ganError, pluralize

LABEL_FOLDERS = ("labels", "label", "masks", "mask")
"""Folders beside the fields that hold their label images."""
MAX_LABEL = 1_000_000
"""Largest number of a cell: a table of all numbers up to it is made."""
_ENDING = re.compile(r"[\W_](?P<kind>labels?|masks?|seg|gt)$", re.IGNORECASE)
_WORDS = ("labels", "label", "mask", "masks")
_PIECES_PER_CELL, _STRAY_PIECES = 3, 10
"""A cell may be in two or three pieces; the grey levels of a photograph lie in hundreds."""
_LEAST_AREA = 4
"""Pixels; the pieces of one grey level of a photograph have one or two."""
_SAVE_NUMBERS = (
    "save the number of each cell, and 0 for background, as one 16-bit grey PNG or TIFF"
    " (labels.astype('uint16'))"
)


def read_labels(path: Path, shape: tuple[int, int] | None = None, invert: bool = False) -> Labels:
    """Read which pixels of a field are which cell.

    A file with one value besides 0 is a binary mask: each piece of it is a cell, numbered from the
    top; pixels that touch at a corner are one piece. Any other file is a label image, whose
    numbers stay as they are. The indices of a palette are numbers, not its colours.

    Args:
        path: The label image or mask: PNG, TIFF or BMP of whole numbers; a mask may be a JPEG.
        shape: Height and width of the field in px; None if it is not known.
        invert: Exchange cells and background of a binary mask.

    Returns:
        int32 (h, w) label image; zeros alone if the file shows no cell.

    Raises:
        Hep2ganError: The file cannot be read, is of another size, of colours, floats or several
            planes, or shows no cells that are apart: a photograph, or a map of classes.
    """
    values = _read_numbers(path)
    if shape is not None and values.shape != shape:
        raise Hep2ganError(
            f"{path} has {values.shape[1]} × {values.shape[0]} pixels, its field {shape[1]} ×"
            f" {shape[0]}",
            "a label image has a pixel for each of its field's",
            "export it again at the size of the field, without margins, scaling or turning",
        )
    cells = values > 0
    if not cells.any():
        return np.zeros(values.shape, np.int32)
    if np.array_equal(values, cells * values.max()):
        return _number_pieces(path, cells, invert)
    if values.max() > MAX_LABEL:
        raise Hep2ganError(
            f"{path} holds the number {values.max():,}",
            f"cells are numbered from 1, up to {MAX_LABEL:,}",
            "number them anew (skimage.segmentation.relabel_sequential)",
        )
    labels = values.astype(np.int32)
    _require_cells(path, labels)
    return labels


def _read_numbers(path: Path) -> npt.NDArray[Any]:
    """Read the whole numbers of a file, (h, w)."""
    try:
        pixels = read_pixels(path)
    except Hep2ganError as error:
        if re.search("frames|planes|images", error.fact.removeprefix(str(path))):
            error = Hep2ganError(error.fact, "a label image is one plane", _SAVE_NUMBERS)
        raise error from None
    if pixels.is_lossy:
        return read_mask(path).nucleus
    values = _plain_values(path, pixels)
    if values.dtype.kind == "f":
        raise Hep2ganError(
            f"{path} holds floating point values", "cells have whole numbers", _SAVE_NUMBERS
        )
    if values.min() < 0:
        raise Hep2ganError(
            f"{path} holds {values.min()}", "background is 0, cells are 1 and more", _SAVE_NUMBERS
        )
    return values


def _plain_values(path: Path, pixels: Pixels) -> npt.NDArray[Any]:
    values = pixels.stored
    if values.ndim == 2:
        return values
    if not (values == values[..., :1]).all():
        raise Hep2ganError(
            f"{path} is an image of colours", "a label image holds numbers", _SAVE_NUMBERS
        )
    return np.ascontiguousarray(values[..., 0])


def _number_pieces(path: Path, cells: npt.NDArray[np.bool_], invert: bool) -> Labels:
    """Number the pieces of a binary mask."""
    cells = ~cells if invert else cells
    border = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])
    if border.mean() > 0.5 and cells.mean() > 0.5:
        raise Hep2ganError(
            f"{path} covers {cells.mean():.0%} of its field and {border.mean():.0%} of its border",
            "cells are not 0, background is 0",
            "exchange the two in the file, or in all masks with"
            f" data.invert_masks={str(not invert).lower()}",
        )
    return _label_pieces(cells)


def _label_pieces(values: npt.NDArray[Any]) -> Labels:
    """Number the pieces of equal values besides 0; pixels that touch at a corner are one piece."""
    from skimage.measure import label  # takes a second, which the help of a command need not wait

    pieces: npt.NDArray[Any] = label(values)  # type: ignore[no-untyped-call]
    return pieces.astype(np.int32)


def _require_cells(path: Path, labels: Labels) -> None:
    """Raise if the pixels of one number mostly do not lie together."""
    numbers = len(np.unique(labels)) - (labels.min() == 0)
    pieces = int(_label_pieces(labels).max())
    are_specks = np.count_nonzero(labels) < _LEAST_AREA * pieces and pieces > _STRAY_PIECES
    if are_specks or pieces > _PIECES_PER_CELL * numbers + _STRAY_PIECES:
        raise Hep2ganError(
            f"{path} holds {pluralize(numbers, 'number')} in {pieces:,} separate pieces, as a"
            " photograph or a map of classes does",
            "each cell has a number of its own, and its pixels lie together",
            f"name the label image of the field, not an image; or {_SAVE_NUMBERS}; or save a"
            " binary mask of 0 and 255",
        )


class LabelFinder:
    """Finds the label image or mask of each field by its name; reads each folder once.

    Of the field `a/1.tif` it is `a/1_labels.*` or `a/1_mask.*`, or in a folder labels or masks
    beside it `1.*`, `1_labels.*` or `1_mask.*`. Labels come before masks.

    Args:
        pattern: Another name: `*` stands for that of the field without suffix, such as
            `*_cp_masks` or `segmented/*`; None for the names above.

    Raises:
        Hep2ganError: The pattern has not one `*`, or leaves the folder.
    """

    def __init__(self, pattern: str | None = None) -> None:
        self._pattern = pattern
        if pattern is not None and (pattern.count("*") != 1 or path_problem(pattern)):
            raise Hep2ganError(
                f"labels={pattern} names no file beside each field",
                "* in it stands for the name of the field without its suffix",
                "write labels=*_labels, or labels=FOLDER/* for a folder beside the fields",
            )
        self._files = cache(_files_by_stem)

    def find(self, field: Path) -> Path | None:
        """Find the label image of one field.

        Args:
            field: The file of the field.

        Returns:
            The file of its label image; None if there is none.

        Raises:
            Hep2ganError: There are several of one kind.
        """
        for place in self._places(field):
            found = self._files(place.parent).get(plain_name(place.name), [])
            found = [path for path in found if path != field]
            if len(found) > 1:
                raise Hep2ganError(
                    f"{field} has {len(found)} label images: {', '.join(map(str, found))}",
                    "a field has one",
                    "move the others away",
                )
            if found:
                return found[0]
        return None

    def _places(self, field: Path) -> list[Path]:
        """Paths without suffix where a label image may lie, the best first."""
        folder, name = field.parent, field.stem
        if self._pattern is not None:
            place = folder / self._pattern.replace("*", name)
            is_named = place.suffix.lower() in SUFFIXES
            return [place.with_suffix("") if is_named else place]
        endings = [f"{name}{sign}{word}" for word in _WORDS for sign in ("_", "-", ".", " ")]
        beside = [folder / ending for ending in endings]
        return beside + [folder / f / n for f in LABEL_FOLDERS for n in (name, *endings)]


def _files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Images of a folder by their names without suffix, also of a folder in other case."""
    found = defaultdict[str, list[Path]](list)
    parent = folder.parent
    names = [folder]
    if not folder.is_dir() and parent.is_dir():
        key = plain_name(folder.name)
        names = [path for path in parent.iterdir() if plain_name(path.name) == key]
    for path in names:
        for file in path.iterdir() if path.is_dir() else ():
            if file.suffix.lower() in SUFFIXES and file.name[0] != ".":
                found[plain_name(file.stem)].append(file)
    return {stem: sorted(files) for stem, files in found.items()}


def split_labels(files: FolderFiles) -> tuple[list[Path], list[Path]]:
    """Tell fields from label images by their names.

    Args:
        files: The files of one folder.

    Returns:
        The fields, and the label images and masks.
    """
    both = sorted([*files.images, *files.masks])
    if plain_name(files.path.name) in LABEL_FOLDERS:
        return [], both
    labels = {path for path in files.masks if _ENDING.search(path.stem)}
    labels |= {path for path in files.images if _ENDING.search(path.stem)}
    return [path for path in both if path not in labels], sorted(labels)
