"""One image on its way through prediction: read and made ready, then its mask, overlay and row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.images import Bytes, Levels, read_image, resize, stretch
from hep2gan.inference.image_files import Found
from hep2gan.reports.figures.overlay import overlay
from hep2gan.whole import whole

_COMPRESSION = 1
"""Of PNG: half the time of the usual 6 for files a tenth larger, and the same pixels."""


class Cell(NamedTuple):
    """An image that could be read.

    shape: its height and width. shown: (h, w) pixels to draw an overlay on, if one is wanted.
    stored: (S, S) pixels for the networks, whose 0 and 255 stand for `levels`.
    """

    found: Found
    shape: tuple[int, ...]
    shown: Bytes | None
    stored: Bytes
    levels: Levels


class Named(NamedTuple):
    """A cell and what the networks say of it. mask: (S, S). probabilities: (K,)."""

    cell: Cell
    mask: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


def read_cell(found: Found, size: int, white: int | None, shown: bool) -> Cell:
    """Read a file for networks of `size` px. Raises Hep2ganError as `read_image` does."""
    image = read_image(found.path, white)
    stored, levels = stretch(resize(image, size))
    return Cell(found, image.shape, stretch(image)[0] if shown else None, stored, levels)


def write_result(named: Named, classes: Sequence[str], output: Path) -> dict[str, Any]:
    """Write masks/ and overlays/ of one cell into `output`; its row of predictions.csv."""
    cell = named.cell
    row: dict[str, Any] = {"image": str(cell.found.path)}
    if named.probabilities is not None:
        chances = named.probabilities.tolist()
        row["predicted"] = classes[int(np.argmax(chances))]
        row |= {name: f"{chance:.6f}" for name, chance in zip(classes, chances, strict=True)}
    if named.mask is not None:
        mask = _at_size(named.mask, cell.shape)
        row["mask_share"] = f"{mask.mean():.6f}"
        _save(output / "masks" / cell.found.name, mask * 255)
        if cell.shown is not None:
            _save(output / "overlays" / cell.found.name, overlay(cell.shown, mask))
    return row


def _at_size(probability: npt.NDArray[np.float32], shape: tuple[int, ...]) -> Bytes:
    """The (S, S) mask at the image's own size: probabilities resized, then thresholded at 0.5."""
    height, width = shape
    image = Image.fromarray(probability.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return (resized >= 0.5).astype(np.uint8)


def _save(stem: Path, pixels: Bytes) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with whole(stem.with_name(stem.name + ".png")) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=_COMPRESSION)
