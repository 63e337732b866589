"""Cells of a field: where a label image has them, and cutting them out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Labels = npt.NDArray[np.int32]
"""(h, w) label image of a field: 0 is background, each cell has a number from 1 of its own."""


class CellRegion(NamedTuple):
    """One cell of a field.

    Attributes:
        label: Its number in the label image.
        box: Its bounding box in px: top, left, bottom, right, the last two past the cell.
        centroid: Mean (y, x) of its pixels' centres in px, 0 being the centre of the first pixel.
        area: Its number of pixels.
        at_border: Whether it has pixels in the first or last row or column of the field.
    """

    label: int
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]
    area: int
    at_border: bool


class CellCrop(NamedTuple):
    """A cell cut out of a field, as images of single cells show it.

    Attributes:
        box: Its place in the field, as in `CellRegion`, with the margin, within the field.
        image: (h, w) the part of the field.
        mask: uint8 (h, w) of {0, 1}, the pixels of this cell alone.
    """

    box: tuple[int, int, int, int]
    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]


def find_regions(labels: Labels) -> list[CellRegion]:
    """List the cells of a label image in the order of their numbers.

    Args:
        labels: (h, w) label image; numbers may be missing.

    Returns:
        The cells; a cell in several pieces is one.
    """
    height, width = labels.shape
    boxes = ndimage.find_objects(labels)
    found = [(number, box) for number, box in enumerate(boxes, 1) if box is not None]
    regions = []
    for number, (rows, columns) in found:
        y, x = np.nonzero(labels[rows, columns] == number)
        box = (rows.start, columns.start, rows.stop, columns.stop)
        regions.append(
            CellRegion(
                label=number,
                box=box,
                centroid=(rows.start + float(y.mean()), columns.start + float(x.mean())),
                area=len(y),
                at_border=min(box[:2]) == 0 or box[2] == height or box[3] == width,
            )
        )
    return regions


def widen_box(
    box: tuple[int, int, int, int], margin: int, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Widen a box on all sides, within its field.

    Args:
        box: Top, left, bottom, right in px, the last two past the cell.
        margin: Pixels, 0 or more.
        shape: Height and width of the field in px.

    Returns:
        The wider box.
    """
    top, left, bottom, right = box
    height, width = shape
    return (
        max(top - margin, 0),
        max(left - margin, 0),
        min(bottom + margin, height),
        min(right + margin, width),
    )


def cut_cell(
    image: npt.NDArray[np.float32], labels: Labels, region: CellRegion, margin: int
) -> CellCrop:
    """Cut one cell out of its field.

    Args:
        image: (h, w) grey levels of the field.
        labels: (h, w) label image.
        region: The cell.
        margin: Pixels between the cell and the edge of the crop, 0 or more; fewer at the border.

    Returns:
        The crop, copied.
    """
    box = widen_box(region.box, margin, (labels.shape[0], labels.shape[1]))
    part = np.s_[box[0] : box[2], box[1] : box[3]]
    mask = (labels[part] == region.label).astype(np.uint8)
    return CellCrop(box, image[part].copy(), mask)
