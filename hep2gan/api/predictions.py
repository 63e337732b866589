"""Images that Python code names, and what is predicted for them."""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from hep2gan.api.frames import import_pandas
from hep2gan.data.readers.files import describe_others, split_masks, walk_files
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.inference.predict import CellPrediction, InputArray, InputImage

if TYPE_CHECKING:
    import pandas

Image = str | os.PathLike[str] | npt.NDArray[np.generic]
"""A file, a folder of files, or an array (h, w)."""
Images = Image | Sequence[Image]


class CellPredictions(Sequence[CellPrediction]):
    """Predictions for images, in their order: a list with a table.

    Args:
        cells: The predictions.
        classes: Names of the classes; empty without a classifier.
        problems: Why each other image could not be read.
        left_out: Number and kinds of the files that were no images.

    Attributes:
        classes: Names of the classes; empty without a classifier.
        problems: Why each other image could not be read, a sentence each.
        left_out: Number and kinds of the files that were no images, in words; '' for none.
    """

    def __init__(
        self,
        cells: Sequence[CellPrediction],
        classes: Sequence[str],
        problems: Sequence[str] = (),
        left_out: str = "",
    ) -> None:
        self._cells = list(cells)
        self.classes, self.problems, self.left_out = tuple(classes), list(problems), left_out

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, index: int) -> CellPrediction: ...

    @overload
    def __getitem__(self, index: slice) -> "CellPredictions": ...

    def __getitem__(self, index: int | slice) -> "CellPrediction | CellPredictions":
        if isinstance(index, slice):
            return CellPredictions(self._cells[index], self.classes)
        return self._cells[index]

    def __repr__(self) -> str:
        failed = f"; {len(self.problems)} could not be read" if self.problems else ""
        left = f"; not predicted: {self.left_out}" if self.left_out else ""
        return f"<predictions for {pluralize(len(self), 'image')}{failed}{left}>"

    @property
    def labels(self) -> list[str | None]:
        """The most probable class of each image; None without a classifier."""
        return [cell.label for cell in self]

    @property
    def masks(self) -> list[npt.NDArray[np.uint8] | None]:
        """The mask of each image at its own size, (h, w) of 0 and 1; None without a generator."""
        return [cell.mask for cell in self]

    def to_frame(self) -> "pandas.DataFrame":
        """Make a data frame with the columns of predictions.csv, a row for each image.

        Returns:
            The columns `image`, `predicted`, the probability of each class, `spread`, `entropy`,
            `distance`, `unlike_training` and `mask_fraction`; those that the method does not
            predict are left out.

        Raises:
            Hep2ganError: pandas is not installed.
        """
        rows = [cell.row() for cell in self]
        columns = list(dict.fromkeys(key for row in rows for key in row)) or ["image"]
        return import_pandas().DataFrame(rows, columns=columns)


def list_inputs(images: Images) -> tuple[list[InputImage | InputArray], str]:
    """List the images that are named, in their order; those of a folder by name.

    Masks among several files, hidden files and files of other kinds are left out, as
    hep2gan-predict does.

    Args:
        images: A file, a folder, an array (h, w), or a list of these.

    Returns:
        The images, and number and kinds of the files that were left out, in words; '' for none.

    Raises:
        Hep2ganError: Something named is no image, or there are none.
    """
    items = _items(images)
    files = [Path(item) for item in items if not isinstance(item, np.ndarray)]
    named_masks = split_masks(path for path in files if path.is_file())[1] if len(items) > 1 else {}
    if named_masks:
        counted = pluralize(len(named_masks), "mask")
        warnings.warn(f"{counted} among the images are not predicted", stacklevel=4)
    found: list[InputImage | InputArray] = []
    masks, others = set(named_masks), list[Path]()
    for number, item in enumerate(items):
        if isinstance(item, np.ndarray):
            found.append(InputArray(f"array {number}", item))
        elif (path := Path(item)).is_file():
            found += [] if path in named_masks else [InputImage(path, Path(path.name))]
        elif path.is_dir():
            inside = list(walk_files(path))
            paths = sorted(image for files in inside for image in files.images)
            found += [InputImage(image, image.relative_to(path)) for image in paths]
            masks |= {mask for files in inside for mask in files.masks}
            others += [other for files in inside for other in files.others]
        else:
            raise Hep2ganError(f"{path} does not exist", "", "check the path")
    counted = pluralize(len(masks), "mask") if masks else ""
    left_out = ", ".join(filter(None, (counted, describe_others(others))))
    if not found:
        raise Hep2ganError(
            "no images are given" + (f", but {left_out}" if left_out else ""),
            "predict takes files, folders and arrays (h, w)",
            "name an image, or a folder that holds some",
        )
    return found, left_out


def _items(images: Images) -> list[Any]:
    """The images as a list of paths and arrays."""
    kinds = (str, os.PathLike, np.ndarray)
    items: list[Any]
    if isinstance(images, kinds) or not isinstance(images, Iterable):
        items = [images]
    else:
        items = list(images)
    if others := [item for item in items if not isinstance(item, kinds)]:
        raise Hep2ganError(
            f"images holds {type(others[0]).__name__}",
            "predict takes paths and numpy arrays, or a list of these",
            "give its path, or numpy.asarray(image)",
        )
    return items
