"""The small arrays of a store, gathered while its cells are packed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.raw import Problem, RawCells
from hep2gan.data.store.pack_worker import Done, Packed


@dataclass
class Columns:
    """What is known of N cells beside their pixels; see `Store` for the arrays."""

    levels: npt.NDArray[np.float32]
    crop_size: npt.NDArray[np.int64]
    digest: npt.NDArray[np.uint8]
    packed: npt.NDArray[np.bool_]
    problems: dict[int, Problem] = field(default_factory=dict)
    peak: float = 0.0
    """Largest value of all 16-bit grey files."""
    reduced: int = 0
    """Number of 16-bit colour files, read at 8 bits."""

    @classmethod
    def empty(cls, count: int) -> "Columns":
        """Make room for `count` cells."""
        return cls(
            np.zeros((count, 2), np.float32),
            np.zeros((count, 2), np.int64),
            np.zeros((count, 16), np.uint8),
            np.zeros(count, np.bool_),
        )

    def take(self, done: Done) -> None:
        """Enter what a worker found out."""
        for row, cell in enumerate(done.cells, done.first):
            if isinstance(cell, Packed):
                self.levels[row], self.crop_size[row] = cell.levels, cell.crop_size
                self.digest[row] = np.frombuffer(cell.digest, np.uint8)
                self.packed[row] = True
                self.peak = max(self.peak, cell.peak)
                self.reduced += cell.reduced
            else:
                self.problems[row] = cell

    def arrays(self, raw: RawCells) -> dict[str, npt.NDArray[Any]]:
        """Give all arrays of a store but image and mask, without the cells that have problems."""
        kept = np.flatnonzero(self.packed).tolist()
        cells = [raw.cells[row] for row in kept]
        return {
            "label": np.array([cell.label for cell in cells], np.int64),
            "specimen": np.array([cell.specimen for cell in cells], np.int64),
            "intensity": np.array([cell.intensity for cell in cells], np.int8),
            "part": np.array([cell.part for cell in cells], np.int8),
            "id": np.array([cell.id for cell in cells], np.str_),
            "levels": self.levels[kept],
            "crop_size": self.crop_size[kept],
            "digest": self.digest[kept],
        }

    def notes(self, white: int | None) -> list[str]:
        """Say what is odd about the files' depths."""
        notes = []
        full = white or 65535
        fitting = 2 ** int(self.peak).bit_length() - 1
        if self.peak and fitting < full:
            notes.append(
                f"16-bit images reach {self.peak:g} of {full}, so grey levels are small;"
                f" data.white={fitting} may be the camera's full scale"
            )
        if self.reduced:
            few = f"{self.reduced:,} images are 16-bit colour and were read at 8 bits"
            notes.append(f"{few}; save them as 16-bit grey to keep dim levels apart")
        return notes
