"""From the cells of a specimen to its answer: votes, mean probabilities, shares, an interval."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.statistics.significance import Interval, wilson

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class CellVotes(NamedTuple):
    """Sums over classified cells, which can be added: of cells to a field, of fields to a specimen.

    Each sum is kept twice, since cells that may mislead are left out where there are others.

    Attributes:
        cells: Number of cells.
        clear: Number of those without a flag.
        votes: (K,) cells whose most probable class each is.
        clear_votes: (K,) the same of cells without a flag.
        probability: (K,) sums of probabilities.
        clear_probability: (K,) the same of cells without a flag.
    """

    cells: int
    clear: int
    votes: Counts
    clear_votes: Counts
    probability: Floats
    clear_probability: Floats

    @classmethod
    def of_cells(
        cls, probabilities: npt.NDArray[np.floating], flagged: npt.NDArray[np.bool_] | None = None
    ) -> "CellVotes":
        """Sum the predictions of cells.

        Args:
            probabilities: (n, K) class probabilities; n and K may be 0.
            flagged: (n,) whether a cell may mislead; None for none of them.

        Returns:
            The sums.
        """
        n, classes = probabilities.shape
        clear = np.ones(n, np.bool_) if flagged is None else ~flagged
        votes = np.zeros((n, classes), np.int64)
        if probabilities.size:
            votes[np.arange(n), probabilities.argmax(axis=1)] = 1
        exact = probabilities.astype(np.float64)
        return cls(
            n,
            int(clear.sum()),
            votes.sum(axis=0),
            votes[clear].sum(axis=0),
            exact.sum(axis=0),
            exact[clear].sum(axis=0),
        )

    def plus(self, other: "CellVotes") -> "CellVotes":
        """Add the sums of other cells.

        Args:
            other: Their sums, of as many classes.

        Returns:
            The sums over both.
        """
        return CellVotes(
            self.cells + other.cells,
            self.clear + other.clear,
            self.votes + other.votes,
            self.clear_votes + other.clear_votes,
            self.probability + other.probability,
            self.clear_probability + other.clear_probability,
        )

    def answer(self) -> "SpecimenAnswer":
        """Answer for all cells together: those without a flag, or all where each has one.

        Returns:
            The answer.
        """
        if self.clear:
            return _answer(self.cells, self.clear, self.clear_votes, self.clear_probability)
        return _answer(self.cells, self.cells, self.votes, self.probability)


class SpecimenAnswer(NamedTuple):
    """What the cells of a field or a specimen say together.

    Attributes:
        cells: Number of cells.
        counted: Number of cells that votes and means are of.
        by_majority: Class of most votes; of equals the one that is more probable on average. None
            without cells.
        by_probability: Class of the highest mean probability. None without cells.
        votes: (K,) cells whose most probable class each is.
        share: (K,) the same as a fraction of the cells; NaN without cells.
        probability: (K,) mean probabilities; NaN without cells.
        interval: 95 % Wilson interval of the share of `by_majority`. It takes the cells for
            independent draws, but those of one specimen share its stain and its picture: it says
            what so few cells leave open, not how sure the class of the specimen is. None without
            cells.
    """

    cells: int
    counted: int
    by_majority: int | None
    by_probability: int | None
    votes: Counts
    share: Floats
    probability: Floats
    interval: Interval | None


def _answer(cells: int, counted: int, votes: Counts, probability: Floats) -> SpecimenAnswer:
    if not (counted and len(votes)):
        unknown = np.full(len(votes), np.nan)
        return SpecimenAnswer(cells, counted, None, None, votes, unknown, unknown, None)
    winner = int(np.where(votes == votes.max(), probability, -1).argmax())
    return SpecimenAnswer(
        cells,
        counted,
        winner,
        int(probability.argmax()),
        votes,
        votes / counted,
        probability / counted,
        wilson(int(votes[winner]), counted),
    )
