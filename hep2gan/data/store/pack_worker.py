"""Packing chunks of cells in worker processes: read, resize and write pixels to their rows."""

import hashlib
import math
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.image import (
    GreyLevels,
    decode_image,
    grey_levels,
    read_mask,
    resize,
    resize_mask,
    stretch,
)
from hep2gan.data.readers.source import CellError, RawCell
from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores

_CELLS_PER_PROCESS = 512
"""Cells below which starting one more process takes longer than it saves."""


class PackChunk(NamedTuple):
    """Cells for the rows from `first` on of the image.npy and mask.npy in `folder`."""

    folder: Path
    first: int
    cells: tuple[RawCell, ...]
    size: int
    white_level: int | None


class CellInfo(NamedTuple):
    """Facts about one packed cell beside its pixels."""

    levels: GreyLevels
    crop_size: tuple[int, int]
    digest: bytes
    peak: float
    """Largest value in a 16-bit grey file, in its own units; 0 for others."""
    depth_reduced: bool
    """16-bit colour, read at 8 bits."""


PackedCell = CellInfo | CellError
"""What became of a cell."""


def run_chunks(
    chunks: Iterable[PackChunk], cells: int, workers: int | None
) -> Generator[list[PackedCell], None, None]:
    """Pack chunks, in this process or in several; results come in the order of the chunks.

    Raises Hep2ganError when a worker process dies.
    """
    count = workers or min(available_cores(), math.ceil(cells / _CELLS_PER_PROCESS))
    if count <= 1:
        yield from map(pack_chunk, chunks)
        return
    # Spawned, since the calling process may hold threads that do not survive a fork.
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=start_worker)
    try:
        with explain_dead_worker():
            yield from _results_in_order(pool, chunks, 4 * count)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def explain_dead_worker() -> Iterator[None]:
    """Raise Hep2ganError where a process of a pool has died."""
    try:
        yield
    except BrokenProcessPool as error:
        raise Hep2ganError(
            "a worker process ended early",
            "a worker was killed, as for want of memory, or the script has no main guard",
            "free memory and start again, or set workers=1; in a script, put the call under"
            ' `if __name__ == "__main__":`',
        ) from error


def _results_in_order(
    pool: ProcessPoolExecutor, chunks: Iterable[PackChunk], limit: int
) -> Iterator[list[PackedCell]]:
    pending: deque[Future[list[PackedCell]]] = deque()
    for chunk in chunks:
        pending.append(pool.submit(pack_chunk, chunk))
        if len(pending) >= limit:
            yield pending.popleft().result()
    yield from (future.result() for future in pending)


def start_worker() -> None:
    """Prepare a worker process: leave Ctrl-C to the packer, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """End this worker when its parent is killed; a pool's workers would wait for it forever."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def pack_chunk(chunk: PackChunk) -> list[PackedCell]:
    """Read the cells of a chunk and write their pixels; broken cells leave their rows zero."""
    shape = (len(chunk.cells), chunk.size, chunk.size)
    images, masks = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    cells = [
        _pack_cell(cell, chunk.white_level, image, mask)
        for cell, image, mask in zip(chunk.cells, images, masks, strict=True)
    ]
    _write_rows(chunk.folder / "image.npy", chunk.first, images)
    _write_rows(chunk.folder / "mask.npy", chunk.first, masks)
    return cells


def _write_rows(path: Path, first: int, rows: npt.NDArray[np.uint8]) -> None:
    # Written through the file, since a full disk ends a process that writes to mapped memory.
    offset = np.load(path, mmap_mode="r").offset
    with path.open("r+b") as file:
        file.seek(offset + first * rows[0].nbytes)
        file.write(rows.data)


def _pack_cell(
    cell: RawCell,
    white_level: int | None,
    image_row: npt.NDArray[np.uint8],
    mask_row: npt.NDArray[np.uint8],
) -> PackedCell:
    reasons: list[str] = []
    size = len(image_row)
    try:
        decoded = decode_image(cell.image)
        grey = grey_levels(cell.image, decoded, white_level)
    except Hep2ganError as error:
        reasons.append(str(error).rstrip("."))
    try:
        mask = read_mask(cell.mask)
        small_mask = resize_mask(mask, size)
        if not small_mask.any():
            problem = f"vanishes at {size} × {size} pixels" if mask.any() else "is empty"
            raise Hep2ganError(
                f"{cell.mask} {problem}", "a mask shows a nucleus", "draw the mask again"
            )
    except Hep2ganError as error:
        reasons.append(str(error).rstrip("."))
    if not reasons and grey.shape != mask.shape:
        reasons.append(
            "{} has {} × {} pixels, but {} {} × {}: both must have the same size."
            " Fix: export the pair again".format(cell.mask, *mask.shape, cell.image, *grey.shape)
        )
    if reasons:
        return CellError(cell.id, "; ".join(reasons))
    image_row[:], levels = stretch(resize(grey, size))
    mask_row[:] = small_mask
    return CellInfo(
        levels,
        (grey.shape[0], grey.shape[1]),
        cell_digest(decoded.values, mask),
        peak=float(decoded.values.max()) if decoded.full_scale == 65535 else 0.0,
        depth_reduced=decoded.depth_reduced,
    )


def cell_digest(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]) -> bytes:
    """Hash the raw pixels of one cell to 16 bytes; image and mask are both (h, w)."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    digest.update(np.ascontiguousarray(mask).data)
    return digest.digest()
