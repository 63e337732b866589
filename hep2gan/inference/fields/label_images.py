"""Label images of fields on disk: the cells, and what the generator drew of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from hep2gan.data.fields.regions import Labels
from hep2gan.inference.fields.predictor import FieldResult
from hep2gan.inference.predict import COMPRESSION
from hep2gan.io import atomic_open

MAX_16_BITS = 65_535


def save_labels(stem: Path, labels: Labels) -> Path:
    """Write a label image: a 16-bit PNG, or a 32-bit TIFF where a number is above 65,535.

    Args:
        stem: Its path without suffix; the folder is made.
        labels: int32 (h, w) label image.

    Returns:
        The file.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    small = int(labels.max(initial=0)) <= MAX_16_BITS
    path, other = (stem.with_name(stem.name + suffix) for suffix in (".png", ".tif"))
    if not small:
        path, other = other, path
    with atomic_open(path) as file:
        if small:
            image = Image.fromarray(labels.astype(np.uint16))
            image.save(file, format="PNG", compress_level=COMPRESSION)
        else:
            Image.fromarray(labels.astype(np.int32)).save(file, format="TIFF")
    # That of a prediction before, of other cells.
    other.unlink(missing_ok=True)
    return path


def generated_labels(labels: Labels, result: FieldResult) -> Labels:
    """Put the generated masks of the cells of a field back in their places.

    The crop of a cell shows its neighbours too, and so does its mask. So a pixel is of the cell
    that has it in the label image; one that none has there is of the first whose mask has it.

    Args:
        labels: int32 (h, w) label image of the cells.
        result: Their predictions, with masks.

    Returns:
        int32 (h, w) label image with the same numbers.
    """
    generated = np.zeros_like(labels)
    masks = result.masks or ()
    for region, (top, left, bottom, right), mask in zip(
        result.regions, result.boxes, masks, strict=True
    ):
        place = np.s_[top:bottom, left:right]
        free = (labels[place] == 0) & (generated[place] == 0)
        own = (mask > 0) & (free | (labels[place] == region.label))
        generated[place][own] = region.label
    return generated
