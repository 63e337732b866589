"""The pixel arrays of a store while it is written: image.npy and mask.npy."""

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.whole import naming

PIXELS = ("image", "mask")
_PIECE = 1024


def reserve_rows(folder: Path, count: int, size: int) -> None:
    """Create both arrays as zeros, (count, size, size). Raises when the disk has no room."""
    needed, free = 2 * count * size * size, shutil.disk_usage(folder).free
    if needed > free:
        fact = f"{folder.parent} has {free / 1e9:.2f} GB free"
        rule = f"{count:,} cells of {size} × {size} pixels take {needed / 1e9:.2f} GB"
        raise Hep2ganError(fact, rule, "free space, or choose another destination or size")
    for name in PIXELS:
        _create(folder / f"{name}.npy", count, size)


def _create(path: Path, count: int, size: int) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
    array = np.lib.format.open_memmap(path, "w+", np.dtype(np.uint8), (count, size, size))
    if hasattr(os, "posix_fallocate"):
        # Writing through a map into a hole of a file on a full disk kills the process (SIGBUS).
        with naming(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def keep_rows(folder: Path, kept: npt.NDArray[np.bool_]) -> None:
    """Drop the rows of cells that could not be packed; `kept` is (count,)."""
    if kept.all():
        return
    rows = np.flatnonzero(kept)
    for name in PIXELS:
        path, partial = folder / f"{name}.npy", folder / f"{name}.kept"
        old = np.load(path, mmap_mode="r")
        new = _create(partial, len(rows), old.shape[1])
        for first in range(0, len(rows), _PIECE):
            new[first : first + _PIECE] = old[rows[first : first + _PIECE]]
        new.flush()
        del old, new
        partial.replace(path)
