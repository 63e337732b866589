"""Packing PNG files into a store, against reading the same files with Pillow alone.

Ours is what hep2gan-pack calls once it has read its tables: two worker processes are started, which
check, decode, resize, stretch and hash every cell; the store is written, hashed and synced to disk.
Theirs decodes image and mask of every cell in one process and keeps nothing. Both read files that
the system has in its memory.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.benchmarks.configured import composed
from experiments.benchmarks.pairs import Ratio, seconds
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import STORES
from hep2gan.data.prepare import open_store
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.raw import RawCell, RawCells
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store

CELLS = 13_596
"""As many as the ICPR 2016 set has."""


def measure(cells: int = CELLS, pairs: int = 3) -> list[Row]:
    """Cells a second of the two."""
    data = composed(["data=phantom", f"data.count={cells}", f"stores={STORES}"])["data"]
    open_store(data)
    raw = read_icpr2016(Path(data["root"]))
    with tempfile.TemporaryDirectory(dir=STORES) as folder:
        ours, theirs = seconds(
            lambda: packed(raw, Path(folder) / "store", data["size"], workers=2),
            lambda: decoded(raw.cells),
            pairs=pairs,
        )
        few = raw.cells[:1000]
        bare = seconds(lambda: least(few, data["size"]), lambda: decoded(few), pairs=2 * pairs)
    return [
        _row("hep2gan-pack, two processes", 1.8, ours, theirs, len(raw.cells)),
        # Two processes of this are what a pack without checks could reach: half the limit each.
        _row("decoding, resizing and hashing alone, one process", 0.9, *bare, len(few)),
    ]


def _row(
    what: str, limit: float, ours: Sequence[float], theirs: Sequence[float], count: int
) -> Row:
    speeds = Ratio.of([count / s for s in ours], [count / s for s in theirs])
    against = "decoding the same PNG files with Pillow, one process"
    return Row(what, against, "at least", limit, speeds, "cells/s")


def packed(raw: RawCells, destination: Path, size: int, workers: int) -> Store:
    """Pack as hep2gan-pack does, where nothing lies yet."""
    shutil.rmtree(destination, ignore_errors=True)
    return pack_cells(raw, destination, size=size, workers=workers)


def decoded(cells: Sequence[RawCell]) -> int:
    """Decode images and masks one by one; the number of their pixels."""
    pixels = 0
    for cell in cells:
        for path in (cell.image, cell.mask):
            with Image.open(path) as image:
                pixels += np.asarray(image).size
    return pixels


def least(cells: Sequence[RawCell], size: int) -> int:
    """Only what makes a store of cells: no file is checked, and nothing kept; bytes hashed."""
    stored, shape = hashlib.sha256(), (size, size)
    for cell in cells:
        with Image.open(cell.image) as image, Image.open(cell.mask) as mask:
            grey = image.convert("F")
            raw = hashlib.blake2b(np.asarray(grey).data, digest_size=16)
            raw.update(np.asarray(mask).data)
            small = np.asarray(grey.resize(shape, Image.Resampling.BILINEAR))
            stored.update(np.rint(small).astype(np.uint8).data)
            stored.update(np.asarray(mask.resize(shape, Image.Resampling.NEAREST)).data)
    return 2 * len(cells) * size**2
