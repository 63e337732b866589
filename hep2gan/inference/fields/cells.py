"""Where the cells of a field come from: a label image beside it, or a class that finds them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hep2gan.data.fields.finder import CellFinder
from hep2gan.data.fields.labels import LabelFinder, read_labels
from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.image import GreyImage
from hep2gan.errors import Hep2ganError

FOUND = "found"
"""Stands in place of a file where cells were found."""


class FieldCells(NamedTuple):
    """The cells of one field.

    Attributes:
        labels: int32 (h, w) label image.
        origin: File of the label image, or `FOUND`.
    """

    labels: Labels
    origin: str


class CellSource:
    """Gives the label image of each field.

    Args:
        labels: Finds label images beside the fields.
        finder: Finds cells of fields without a label image; None refuses these.
        diameter: Usual diameter of the training's nuclei in px; None if it is not known.
    """

    def __init__(
        self, labels: LabelFinder, finder: CellFinder | None, diameter: float | None
    ) -> None:
        self._labels, self._finder, self._diameter = labels, finder, diameter

    def of(self, path: Path, image: GreyImage) -> FieldCells:
        """Read or find the cells of one field.

        Args:
            path: The file of the field.
            image: float32 (h, w) its grey levels.

        Returns:
            Its cells.

        Raises:
            Hep2ganError: Its label image does not fit, or there is none and nothing finds cells, or
                what was found is no label image.
        """
        file = self._labels.find(path)
        if file is not None:
            height, width = image.shape
            return FieldCells(read_labels(file, (height, width)), str(file))
        if self._finder is None:
            raise Hep2ganError(
                f"{path} has no label image beside it",
                "with ~cells nothing finds the cells of a field",
                "add the label image, name it by labels=*_labels, or leave ~cells out",
            )
        return FieldCells(find_cells(self._finder, image, self._diameter, path), FOUND)


def find_cells(finder: CellFinder, image: GreyImage, diameter: float | None, path: Path) -> Labels:
    """Find the cells of one field, and check that a label image comes back.

    Args:
        finder: Finds them; it may be a class of the user's own.
        image: float32 (h, w) grey levels of the field.
        diameter: Usual diameter of a nucleus in px; None if it is not known.
        path: The file of the field, for the message.

    Returns:
        int32 (h, w) label image.

    Raises:
        Hep2ganError: What was found is no label image.
    """
    found = np.asarray(finder.find(image, diameter))
    if found.shape != image.shape or found.dtype.kind not in "iu" or found.min(initial=0) < 0:
        raise Hep2ganError(
            f"{type(finder).__name__} returned {found.dtype} {found.shape} for {path}",
            f"a label image has a whole number from 0 on for each pixel, {image.shape}",
            "correct its method find, see CellFinder",
        )
    return found.astype(np.int32, copy=False)
