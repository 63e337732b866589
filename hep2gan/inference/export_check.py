"""Compare an export with the networks of its run, on stored cells, before it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.phantom.generate import generate_cells
from hep2gan.data.readers.image import resize, stretch
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import InferenceBackend

CELLS = 24
BATCHES = (1, 7)
"""Batch sizes that exports are checked with."""


@dataclass(frozen=True)
class CheckCells:
    """Stored cells to check an export with.

    Attributes:
        image: Stored pixels (N, S, S).
        levels: Grey levels of stored 0 and 255, (N, 2).
        source: Where the cells come from, in words.
    """

    image: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.float32]
    source: str


@dataclass(frozen=True)
class ExportCheck:
    """How an export was compared with its run.

    Attributes:
        compared: What with what, in words.
        source: Where the cells come from, in words.
        count: Number of cells.
        batch_sizes: Batch sizes that were compared.
        tolerance: Largest difference that is allowed.
        differences: Largest difference of each output, by its name.
    """

    compared: str
    source: str
    count: int
    batch_sizes: tuple[int, ...]
    tolerance: float
    differences: Mapping[str, float]

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batch_sizes))
        head = f"{self.compared} on {self.count} {self.source}, in batches of {sizes}: "
        if not any(self.differences.values()):
            return f"{head}equal to the bit"
        found = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return f"{head}largest difference {found}"


def compare_backends(
    export: InferenceBackend,
    run: InferenceBackend,
    outputs: Sequence[str],
    cells: CheckCells,
    tolerance: float,
    compared: str,
) -> ExportCheck:
    """Compare what an export and its run compute for some cells.

    Args:
        export: The networks as exported.
        run: The networks of the run.
        outputs: Names of what they compute, as in `BackendOutput`.
        cells: The cells to compare on.
        tolerance: Largest difference that a mask or a probability may have, and a distance above 1
            relative to itself.
        compared: What is compared with what, in words.

    Returns:
        The largest differences, and what they were measured on.

    Raises:
        Hep2ganError: One is larger than `tolerance`, or a result is not finite.
    """
    differences = dict.fromkeys(outputs, 0.0)
    for size in BATCHES:
        for start in range(0, len(cells.image), size):
            batch = cells.image[start : start + size], cells.levels[start : start + size]
            found, due = export(*batch), run(*batch)
            for name in differences:
                difference = _max_difference(getattr(found, name), getattr(due, name))
                differences[name] = max(differences[name], difference)
    if not all(difference <= tolerance for difference in differences.values()):
        text = ", ".join(f"{name} by {value:.2g}" for name, value in differences.items())
        raise Hep2ganError(
            f"{compared} differ: {text}",
            f"they must agree to {tolerance:g}" if tolerance else "they must be equal to the bit",
            "try other versions of torch and onnxruntime; nothing was written",
        )
    return ExportCheck(compared, cells.source, len(cells.image), BATCHES, tolerance, differences)


def _max_difference(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Largest difference, above 1 relative; infinite where shapes differ or one is not finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max())


def sample_cells(path: Path, size: int, *, required: bool = False) -> CheckCells:
    """Take some cells of a store, from its first to its last; synthetic ones if there is no store.

    Args:
        path: Folder of the store.
        size: Side of the images that the networks take, in pixels.
        required: Whether a store that cannot be opened is an error.

    Returns:
        At most `CELLS` cells.

    Raises:
        Hep2ganError: The store has another size, or is required and cannot be opened.
    """
    try:
        store = Store.open(path)
    except Hep2ganError:
        if required:
            raise
        return _synthetic_cells(size)
    if store.size != size:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px", f"this run takes {size}", "set store=FOLDER"
        )
    rows = np.unique(np.linspace(0, len(store) - 1, CELLS).astype(np.int64))
    return CheckCells(
        store.image[rows].copy(), store.levels[rows].copy(), f"cells of the store {path.name}"
    )


def _synthetic_cells(size: int) -> CheckCells:
    raw = (cell.image for cell in islice(generate_cells(CELLS, 0), CELLS))
    stored = [stretch(resize(image.astype(np.float32), size)) for image in raw]
    return CheckCells(
        np.stack([image for image, _ in stored]),
        np.array([tuple(level) for _, level in stored], np.float32),
        "synthetic cells, as the training's store does not exist",
    )
