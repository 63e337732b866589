"""Telling images of single cells from fields of many, by their sizes alone."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from hep2gan.data.readers.decoding import FORMATS
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.inference.predict import MAX_CROPS, InputImage
from hep2gan.runs.folder import CropGeometry

InputKind = Literal["auto", "crop", "field"]


class SortedInputs(NamedTuple):
    """What the images are taken for.

    Attributes:
        crops: Images of single cells.
        fields: Images of many cells.
        reason: What was taken for fields and why, in words; '' where there are crops alone.
    """

    crops: list[InputImage]
    fields: list[InputImage]
    reason: str


def sort_inputs(
    images: Sequence[InputImage], kind: InputKind, crops: CropGeometry | None
) -> SortedInputs:
    """Tell crops from fields.

    An image is a field if its longer side is more than `MAX_CROPS` times that of the largest crop
    of the training. One whose head does not say its size is left with the others, to be read.

    Args:
        images: The images.
        kind: What the user says that they are; `auto` looks at their sizes.
        crops: How large the crops of the training were; None takes all images for crops.

    Returns:
        The images by what they are.

    Raises:
        Hep2ganError: Fields are asked for, or found, and the sizes of the training's crops are not
            known.
    """
    if kind == "field" and crops is None:
        raise Hep2ganError(
            "the run does not say how large the crops of its training were",
            "the cells of a field are cut out as those of the training were",
            "train it again, or export it again if it is an export; or give its cells one a file",
        )
    if kind != "auto" or crops is None:
        all_of_them = list(images)
        if kind == "field":
            reason = f"{pluralize(len(images), 'image')} taken for fields of cells (input=field)"
            return SortedInputs([], all_of_them, reason)
        return SortedInputs(all_of_them, [], "")
    limit = MAX_CROPS * crops.largest
    sides = [_longer_side(image.path) for image in images]
    fields = [i for i, side in zip(images, sides, strict=True) if side is not None and side > limit]
    singles = [
        i for i, side in zip(images, sides, strict=True) if side is not None and side <= limit
    ]
    unknown = [image for image, side in zip(images, sides, strict=True) if side is None]
    (singles if singles or not fields else fields).extend(unknown)
    return SortedInputs(singles, fields, _reason(len(singles), len(fields), crops.largest))


def _reason(singles: int, fields: int, largest: int) -> str:
    if not fields:
        return ""
    beside = f", {pluralize(singles, 'image')} for one cell each" if singles else ""
    return (
        f"{pluralize(fields, 'image')} taken for {'fields' if fields > 1 else 'a field'} of cells"
        f"{beside}: longer than {MAX_CROPS} × {largest} px, the largest crop of the training"
        " (input=crop or input=field says otherwise)"
    )


def _longer_side(path: Path) -> int | None:
    """Longer side in pixels, from the head of the file; None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return max(image.size)
    except Exception:  # Pillow's readers raise errors of many kinds at damaged files
        return None
