"""What comparisons need to know of the test cells of a run: no images, so that many runs fit."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.reports.selection import dice_by_cell
from hep2gan.runs.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Arrays of N test cells in K classes; None what the method does not produce."""

    classes: tuple[str, ...]
    id: npt.NDArray[np.str_]
    """(N,)"""
    specimen: npt.NDArray[np.int64]
    """(N,), -1 where unknown."""
    label: npt.NDArray[np.int64]
    """(N,) true class."""
    crop_size: npt.NDArray[np.int64]
    """(N, 2) raw pixels: with the label it tells whether two cells of one id are the same."""
    probabilities: npt.NDArray[np.float32] | None
    """(N, K)"""
    predicted: npt.NDArray[np.int64] | None
    """(N,) most probable class."""
    dice: npt.NDArray[np.float64] | None
    """(N,) in [0, 1]."""
    jaccard: npt.NDArray[np.float64] | None
    """(N,) in [0, 1]; of one mask it is Dice / (2 - Dice)."""

    def __len__(self) -> int:
        return len(self.id)

    @property
    def specimens(self) -> int:
        """How many there are; 0 where that of any cell is unknown."""
        return len(np.unique(self.specimen)) if (self.specimen >= 0).all() else 0

    def rows(self, chosen: npt.NDArray[np.integer[Any]]) -> "Tested":
        """The chosen cells, in that order."""
        return Tested(
            classes=self.classes, **{name: _taken(self, name, chosen) for name in _ARRAYS}
        )


_ARRAYS = tuple(field.name for field in fields(Tested) if field.name != "classes")


def _taken(cells: Tested, name: str, chosen: npt.NDArray[np.integer[Any]]) -> Any:
    array = getattr(cells, name)
    return None if array is None else array[chosen]


def kept_cells(predictions: Predictions) -> Tested:
    """Keep of predictions what comparisons need."""
    classified = predictions.probabilities is not None
    dice = None if predictions.mask is None else dice_by_cell(predictions)
    return Tested(
        classes=predictions.classes,
        id=predictions.id,
        specimen=predictions.specimen,
        label=predictions.label,
        crop_size=predictions.crop_size,
        probabilities=predictions.probabilities,
        predicted=predictions.predicted if classified else None,
        dice=dice,
        jaccard=None if dice is None else dice / (2 - dice),
    )


def pooled(parts: Sequence[Tested]) -> Tested:
    """Join the test cells of several parts, each id once, as the first part has it.

    Raises Hep2ganError where the parts do not have the same classes.
    """
    if len({part.classes for part in parts}) > 1:
        raise Hep2ganError(
            "test parts of one method have different classes", "", "report them apart"
        )
    arrays = {name: [getattr(part, name) for part in parts] for name in _ARRAYS}
    whole: dict[str, Any] = {
        name: None if any(array is None for array in found) else np.concatenate(found)
        for name, found in arrays.items()
    }
    cells = Tested(classes=parts[0].classes, **whole)
    _, first = np.unique(cells.id, return_index=True)
    return cells.rows(np.sort(first))
