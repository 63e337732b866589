"""The class of a specimen from the predictions of its cells."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.confusion import sum_by_group

Counts = npt.NDArray[np.int64]


class VotingResult(NamedTuple):
    """True and voted classes of S specimens, each (S,)."""

    specimen: Counts
    """Numbers, ascending."""
    label: Counts
    by_probability: Counts
    """The class of highest mean probability over the specimen's cells."""
    by_majority: Counts
    """The class of most cells; where several have as many, the more probable on average."""


def majority_votes(
    specimen: Counts, label: Counts, probabilities: npt.NDArray[np.floating]
) -> VotingResult:
    """Let the cells of each specimen vote: a laboratory names patterns of patients, not of cells.

    Args:
        specimen: (N,) specimen numbers.
        label: (N,) true classes.
        probabilities: (N, K); a cell's own vote is its most probable class.

    Raises:
        Hep2ganError: where the specimen of a cell is unknown (-1), or a specimen has cells of
            several classes.
    """
    if (specimen < 0).any():
        raise Hep2ganError("specimens of some cells are unknown", "a vote needs those of all")
    numbers, first = np.unique(specimen, return_index=True)
    own = label[first]
    if (own[np.searchsorted(numbers, specimen)] != label).any():
        raise Hep2ganError("a specimen has cells of several classes", "it must have one pattern")
    # Within a specimen sums rank as means do.
    total = sum_by_group(specimen, probabilities.astype(np.float64))
    each = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    count = sum_by_group(specimen, each)
    leading = np.where(count == count.max(axis=1, keepdims=True), total, -1)
    return VotingResult(
        numbers,
        own,
        total.argmax(axis=1).astype(np.int64),
        leading.argmax(axis=1).astype(np.int64),
    )
