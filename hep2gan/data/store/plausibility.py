"""Whether masks fit their images: inverted, full, of a field, turned, shifted, of others, alike.

Single masks are judged when they are packed, by their place in the crop. Whether masks follow their
images is judged over a whole set: a pattern may well lie beside its nucleus in a single cell.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from hep2gan.data.readers.image import ByteImage
from hep2gan.data.readers.mask import Mask

_BACKGROUND = "covers the border of its crop and leaves the middle empty"
_AT_BORDER = "masks that cover more of the border of the crop than of its middle"
_EVERYTHING = "covers its whole crop"
_SEVERAL = "shows several nuclei, as that of a field of cells does"
_UNDECIDED = "may be inverted"
_CERTAIN = 0.25
"""Difference of coverage between middle and border that tells nucleus from background."""
_PIECES, _LOOKED_AT = 4, 128
"""Nuclei of about one size that make a field, counted at this many pixels a side."""
_GRID = 16
"""Images and masks are compared at this many pixels a side."""
_SAMPLE = 256
_FEWEST, _FEWEST_MIXED = 20, 100
"""Cells that it takes to judge a set, and to say that its pairs are mixed up."""
_SURE = 4
_GAIN = 0.01
"""Correlation by which a turned mask must fit better to count: round nuclei fit any way."""
_ALIKE = 0.05
"""Fraction of masks that are another's too, from which they are reported."""
_TURNS = (
    "as they are",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180°",
    "with rows and columns exchanged",
    "turned by 90° to the right",
    "turned by 90° to the left",
    "with rows and columns exchanged and turned by 180°",
)


class Oddity(NamedTuple):
    """What does not look right in some cells.

    Attributes:
        what: The fact, to follow the number of cells.
        ids: Names of the cells.
        stops: Whether it must be decided before the cells are packed.
    """

    what: str
    ids: list[str]
    stops: bool = False


class Nucleus(NamedTuple):
    """Pixels of a nucleus, and how they were found.

    Attributes:
        pixels: uint8 (h, w) of {0, 1}.
        decision: Which of two ways to read the file was taken; '' if there was one.
        doubt: Why this can hardly be a nucleus; '' if it can.
    """

    pixels: ByteImage
    decision: str = ""
    doubt: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a report says of it, to follow the number of such masks."""
        kept = f"masks kept although each {self.doubt}" if self.doubt else ""
        return tuple(filter(None, (self.decision, kept)))


def find_nucleus(mask: Mask, invert: bool) -> Nucleus:
    """Decide which pixels of a mask are the nucleus, by their place in the crop.

    Args:
        mask: The mask as it was read.
        invert: Exchange nucleus and background first.

    Returns:
        The nucleus.
    """
    pixels = 1 - mask.nucleus if invert else mask.nucleus
    covered = int(np.count_nonzero(pixels))
    if covered == pixels.size:
        return Nucleus(pixels, mask.way, _EVERYTHING)
    if _is_field(pixels):
        return Nucleus(pixels, mask.way, _SEVERAL)
    lean = _coverage_of_middle(pixels.view(bool), covered)
    if not mask.doubt or not covered:
        way = _AT_BORDER if -_CERTAIN < lean < 0 else mask.way
        return Nucleus(pixels, way, _BACKGROUND if lean <= -_CERTAIN else "")
    if abs(lean) < _CERTAIN:
        doubt = f"{_UNDECIDED}, for it has {mask.doubt}, and its shape does not tell"
        return Nucleus(pixels, doubt=doubt)
    taken = "their stored values" if lean > 0 else "it"
    decision = f"masks with {mask.doubt}, read by {taken}"
    return Nucleus(pixels if lean > 0 else 1 - pixels, decision)


def _is_field(mask: ByteImage) -> bool:
    """Tell whether a mask has several pieces of at least a quarter of the largest."""
    step = -(-max(mask.shape) // _LOOKED_AT)
    pieces, _ = label(mask[::step, ::step])
    areas = np.bincount(pieces.ravel())[1:]
    return bool((4 * areas >= areas.max(initial=1)).sum() >= _PIECES)


def _coverage_of_middle(mask: npt.NDArray[np.bool_], covered: int) -> float:
    """Return how much more of the middle half than of the border a mask covers, -1 to 1."""
    height, width = mask.shape
    middle = mask[height // 4 : height - height // 4, width // 4 : width - width // 4]
    inner = mask[1:-1, 1:-1]
    border = (covered - np.count_nonzero(inner)) / (mask.size - inner.size)
    return float(np.count_nonzero(middle) / middle.size - border)


def advice(reasons: Sequence[str], invert: bool) -> str:
    """Say what to do about masks that do not look like nuclei.

    Args:
        reasons: Why cells were not packed.
        invert: Whether nucleus and background were exchanged.

    Returns:
        The options, each after a comma; '' if no such mask is among them.
    """
    inverted = sum(_BACKGROUND in reason for reason in reasons)
    odd = any(doubt in text for text in reasons for doubt in (_EVERYTHING, _UNDECIDED, _SEVERAL))
    exchange = (
        f", or exchange nucleus and background in all masks with"
        f" data.invert_masks={str(not invert).lower()} ({inverted:,} look so)"
    )
    crop = ", or crop the cells out of fields, one a file" * any(_SEVERAL in r for r in reasons)
    keep = ", or pack implausible masks as they are with data.keep_implausible=true"
    return exchange * bool(inverted) + crop + keep * (odd or bool(inverted))


def compare_sample(folder: Path, ids: Sequence[str]) -> list[Oddity]:
    """Judge whether the masks of a set follow its images, on a sample of its cells.

    Args:
        folder: Folder with image.npy and mask.npy.
        ids: Names of the cells.

    Returns:
        What does not fit.
    """
    if len(ids) < _FEWEST:
        return []
    sample = np.unique(np.linspace(0, len(ids) - 1, _SAMPLE).astype(int))
    names = np.asarray(ids)[sample]
    images, masks = (
        _standardised(np.load(folder / f"{name}.npy", mmap_mode="r")[sample])
        for name in ("image", "mask")
    )
    fit = np.stack([np.einsum("nyx,nyx->n", images, turned) for turned in _turned(masks)])
    gain = fit - fit[0]
    better, worse = (gain > _GAIN).sum(1), (gain < -_GAIN).sum(1)
    # A sign test of each turn against none, in standard deviations of chance.
    lead = (better - worse) / np.sqrt(np.maximum(better + worse, 1))
    turn, is_judged = int(lead.argmax()), better + worse >= _FEWEST_MIXED
    oddities = []
    if lead[turn] > _SURE:
        what = f"masks of {len(sample):,} looked at fit their images better {_TURNS[turn]}"
        oddities.append(Oddity(what, names[gain[turn] > _GAIN].tolist(), stops=True))
    elif is_judged.any() and lead[is_judged].min() > -_SURE:
        what = "masks looked at fit their images no better than if they were turned"
        oddities.append(Oddity(what, names.tolist(), stops=True))
    elif any(shift := _common_shift(images, masks, fit[0])):
        what = "masks looked at lie {:+.0%} of the height and {:+.0%} of the width off".format(
            *(-side / _GRID for side in shift)
        )
        oddities.append(Oddity(what, names.tolist(), stops=True))
    if np.median(fit[0]) < 0:
        oddities.append(Oddity("masks looked at lie where images are dark", names.tolist()))
    return oddities


def _standardised(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Shrink each image to the grid, with mean 0 and norm 1."""
    block = pixels.shape[1] // _GRID
    # One axis after the other: summing both at once takes four times as long.
    bands = pixels.reshape(len(pixels), _GRID, block, -1).sum(2, dtype=np.uint32)
    small = bands.reshape(len(pixels), _GRID, _GRID, block).sum(3).astype(np.float32)
    small -= small.mean((1, 2), keepdims=True)
    norm = np.linalg.norm(small, axis=(1, 2), keepdims=True)
    standardised: npt.NDArray[np.float32] = small / np.where(norm > 0, norm, np.float32(1))
    return standardised


def _turned(masks: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Turn masks in all ways, in the order of `_TURNS`."""
    sides = (masks, masks.transpose(0, 2, 1))
    return [
        turned
        for a, b in ((s, s[:, ::-1]) for s in sides)
        for turned in ((a, a[:, :, ::-1], b, b[:, :, ::-1]))
    ]


def _common_shift(
    images: npt.NDArray[np.float32], masks: npt.NDArray[np.float32], fit: npt.NDArray[np.float32]
) -> tuple[int, int]:
    """Return by how many pixels of the grid most masks fit better if moved; 0, 0 if by none."""
    spectrum = np.fft.rfft2(images) * np.conj(np.fft.rfft2(masks))
    fits = np.fft.irfft2(spectrum, s=(_GRID, _GRID)).reshape(len(images), -1)
    place = np.where(fits.max(1) > fit + _GAIN, fits.argmax(1), 0)
    half = _GRID // 2
    shifts = np.stack([(side + half) % _GRID - half for side in np.divmod(place, _GRID)])
    common = np.median(shifts, axis=1)
    is_near = (np.abs(shifts - common[:, None]) <= 1).all(0)
    rows, columns = common.astype(int) if is_near.mean() > 0.5 else (0, 0)
    return int(rows), int(columns)


def find_identical_masks(
    ids: Sequence[str], masks: Sequence[object], cells: Sequence[bytes]
) -> list[Oddity]:
    """Find masks that belong to several different images.

    Args:
        ids: Names of the cells.
        masks: Checksum and size of each mask.
        cells: Digest of each image with its mask.

    Returns:
        What is odd, if there are many of them.
    """
    groups = defaultdict(list)
    for row, mask in enumerate(masks):
        groups[mask].append(row)
    alike = [
        ids[row]
        for group in groups.values()
        if len({cells[row] for row in group}) > 1
        for row in group
    ]
    if len(alike) < max(3, _ALIKE * len(ids)):
        return []
    return [Oddity("masks are the same as those of other images", alike)]
