"""Worker processes for chunks of cells; packing: read, resize and write pixels to their rows."""

import hashlib
import math
import os
import signal
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from hep2gan.data.fields.labels import read_labels
from hep2gan.data.readers.image import (
    DecodedImage,
    GreyLevels,
    decode_image,
    grey_levels,
    resize,
    resize_mask,
    stretch,
)
from hep2gan.data.readers.mask import read_mask
from hep2gan.data.readers.source import CellError, PackSettings, RawCell
from hep2gan.data.store.plausibility import Nucleus, find_nucleus
from hep2gan.errors import Hep2ganError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
_PENDING_PER_WORKER = 4


class PackChunk(NamedTuple):
    """Cells to be packed by one process at a time.

    Attributes:
        folder: Folder with image.npy and, if the cells have masks, mask.npy.
        first: Row of the first cell.
        cells: The cells, for the rows from `first` on.
        settings: How they are packed.
    """

    folder: Path
    first: int
    cells: tuple[RawCell, ...]
    settings: PackSettings


class CellInfo(NamedTuple):
    """Facts about one packed cell besides its pixels.

    Attributes:
        levels: Grey levels that stored 0 and 255 represent.
        crop_size: Height and width of the raw crop in pixels.
        digest: Hash of the raw image and mask, 16 bytes.
        mask_checksum: Checksum of the raw mask; 0 without one.
        margins: Pixels between the mask's box and the crop's four edges; none without a mask.
        nucleus: Diameter of a circle of the mask's area in pixels; 0 without one.
        peak: Largest value of a 16-bit file, in its own units; 0 for other files.
        remarks: What was decided about the mask, and what is odd about it.
    """

    levels: GreyLevels
    crop_size: tuple[int, int]
    digest: bytes
    mask_checksum: int
    margins: tuple[int, ...]
    nucleus: float
    peak: float
    remarks: tuple[str, ...]


Pixel = TypeVar("Pixel", np.uint8, np.float32)
PackedCell = CellInfo | CellError
"""What became of a cell."""


def run_chunks(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], workers: int
) -> Generator[Result, None, None]:
    """Process chunks of cells, in this process or in several.

    Args:
        work: Function of a chunk; a worker process must be able to import it.
        chunks: The chunks.
        workers: Number of processes; 1 or less for this one.

    Yields:
        The results, in the order of the chunks.

    Raises:
        Hep2ganError: A worker process ended early.
    """
    if workers <= 1:
        yield from map(work, chunks)
        return
    # Spawned, not forked: forking a process whose libraries run threads can hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=start_worker)
    pending: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) >= _PENDING_PER_WORKER * workers:
                yield pending.popleft().result()
        yield from (future.result() for future in pending)
    except BrokenProcessPool as error:
        raise Hep2ganError(
            "a worker process ended early",
            "it was killed, for instance for lack of memory, or the script has no main guard",
            "free memory and start again, or set workers=1; in a script, put the call under"
            ' `if __name__ == "__main__":`',
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """Prepare a worker process: leave Ctrl-C to the main process, and end with it.

    Without the latter, the workers of a killed process would wait for work forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def pack_chunk(chunk: PackChunk) -> list[PackedCell]:
    """Read the cells of a chunk and write their pixels; the rows of damaged cells stay zero.

    Args:
        chunk: The cells.

    Returns:
        The facts or the error of each cell.
    """
    shape = (len(chunk.cells), chunk.settings.size, chunk.settings.size)
    has_masks = chunk.cells[0].mask is not None
    images, masks = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    files = _Files(chunk.settings)
    cells = [
        _pack_cell(cell, files, image, mask)
        for cell, image, mask in zip(chunk.cells, images, masks, strict=True)
    ]
    _write_rows(chunk.folder / "image.npy", chunk.first, images)
    if has_masks:
        _write_rows(chunk.folder / "mask.npy", chunk.first, masks)
    return cells


def _write_rows(path: Path, first: int, rows: npt.NDArray[np.uint8]) -> None:
    # Written through the file, since a full disk ends a process that writes to mapped memory.
    offset = np.load(path, mmap_mode="r").offset
    with path.open("r+b") as file:
        file.seek(offset + first * rows[0].nbytes)
        file.write(rows.data)


class _Files:
    """Reads images and masks of cells; the last field stays, since many cells are of one."""

    def __init__(self, settings: PackSettings) -> None:
        self.settings = settings
        self._field = lru_cache(maxsize=1)(self._decode)
        self._labels = lru_cache(maxsize=1)(partial(read_labels, invert=settings.invert_masks))

    def image(self, cell: RawCell) -> DecodedImage:
        """Read the image of a cell, or its part of its field."""
        if cell.region is None:
            return self._decode(cell.image)
        field, (top, left, bottom, right) = self._field(cell.image), cell.region.box
        height, width = field.values.shape
        if bottom > height or right > width:
            raise Hep2ganError(
                f"{cell.image} has {width} × {height} pixels, too few for its label image",
                "a label image has a pixel for each of its field's",
                "export the label image again at the size of the field",
            )
        return field._replace(values=field.values[top:bottom, left:right])

    def nucleus(self, cell: RawCell, path: Path) -> Nucleus:
        """Read the mask of a cell, or its pixels in the label image of its field."""
        if cell.region is None:
            return find_nucleus(read_mask(path), self.settings.invert_masks)
        height, width = self._field(cell.image).values.shape
        top, left, bottom, right = cell.region.box
        labels = self._labels(path, (height, width))[top:bottom, left:right]
        # Its place in the crop tells nothing: the crop was cut around it, or at the field's border.
        return Nucleus((labels == cell.region.label).view(np.uint8))

    def _decode(self, path: Path) -> DecodedImage:
        return decode_image(path, self.settings.channel, self.settings.plane)


def _pack_cell(
    cell: RawCell,
    files: _Files,
    image_row: npt.NDArray[np.uint8],
    mask_row: npt.NDArray[np.uint8],
) -> PackedCell:
    reasons: list[str] = []
    settings, size = files.settings, files.settings.size
    try:
        decoded = files.image(cell)
        grey = grey_levels(cell.image, decoded, settings.white_level)
    except Hep2ganError as error:
        reasons.append(str(error).rstrip("."))
    nucleus = mask = whole = None
    try:
        # Of a field that cannot be read, the label image has nothing to be compared with.
        if cell.mask is not None and not (cell.region and reasons):
            nucleus = files.nucleus(cell, cell.mask)
            whole = nucleus.pixels
            mask = recut(whole, cell.id, settings, "constant")
            small_mask = resize_mask(mask, size)
            if not small_mask.any():
                problem = f"vanishes at {size} × {size} pixels" if mask.any() else "is empty"
                raise Hep2ganError(
                    f"{cell.mask} {problem}", "a mask shows a nucleus", "draw the mask again"
                )
    except Hep2ganError as error:
        reasons.append(str(error).rstrip("."))
    if not reasons and whole is not None and grey.shape != whole.shape:
        reasons.append(
            "{} has {} × {} pixels, but {} {} × {}: both must have the same size."
            " Fix: export the pair again".format(cell.mask, *whole.shape, cell.image, *grey.shape)
        )
    elif not reasons and nucleus and nucleus.doubt and not settings.keep_implausible:
        reasons.append(f"{cell.mask} {nucleus.doubt}")
    if not reasons:
        try:
            seen = recut(grey, cell.id, settings, "symmetric")
        except Hep2ganError as error:
            reasons.append(str(error).rstrip("."))
    if reasons:
        return CellError(cell.id, "; ".join(reasons))
    image_row[:], levels = stretch(resize(seen, size))
    if mask is not None:
        mask_row[:] = small_mask
    return CellInfo(
        levels,
        (seen.shape[0], seen.shape[1]),
        # Of the whole crop, so that a cell is known again however it was cut.
        cell_digest(decoded.values, whole),
        0 if whole is None else zlib.crc32(whole.tobytes()),
        () if mask is None else _margins(mask),
        0.0 if whole is None else 2 * math.sqrt(np.count_nonzero(whole) / math.pi),
        peak=float(decoded.values.max()) if decoded.full_scale == 65535 else 0.0,
        remarks=nucleus.remarks if nucleus else (),
    )


def recut(
    crop: npt.NDArray[Pixel],
    name: str,
    settings: PackSettings,
    beyond: Literal["symmetric", "constant"],
) -> npt.NDArray[Pixel]:
    """Cut a crop tighter, looser or shifted, as `PackSettings` says.

    Args:
        crop: (h, w) pixels of an image or a mask.
        name: Id of the cell, on which its shift depends.
        settings: `crop_change` and `crop_shift`.
        beyond: What lies beyond the crop: its margin mirrored, or zeros.

    Returns:
        The pixels; the same array where nothing is to be changed.

    Raises:
        Hep2ganError: Nothing is left of the crop.
    """
    change, furthest = settings.crop_change, settings.crop_shift
    if not change and not furthest:
        return crop
    rng = np.random.default_rng([6, zlib.crc32(name.encode())])
    shift = rng.integers(-furthest, furthest, 2, endpoint=True)
    pad = max(change + furthest, 0)
    rows, columns = (
        slice(pad - change + int(moved), pad + side + change + int(moved))
        for side, moved in zip(crop.shape, shift, strict=True)
    )
    if min(crop.shape) + 2 * change < 1 or min(rows.start, columns.start) < 0:
        raise Hep2ganError(
            f"cell {name} has {crop.shape[0]} × {crop.shape[1]} pixels, of which"
            f" data.crop_change={change} leaves none",
            "",
            "choose a crop_change nearer 0",
        )
    return np.pad(crop, pad, mode=beyond)[rows, columns]


def _margins(mask: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the pixels between what is not 0 and the four edges."""
    lines = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return tuple(
        int(edge)
        for line, side in zip(lines, mask.shape, strict=True)
        for edge in (line[0], side - 1 - line[-1])
    )


def cell_digest(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None) -> bytes:
    """Hash the raw pixels of one cell.

    Args:
        image: float32 (h, w), in the units of the file.
        mask: uint8 (h, w) of {0, 1}, or None.

    Returns:
        The digest, 16 bytes.
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    if mask is not None:
        digest.update(np.ascontiguousarray(mask).data)
    return digest.digest()
