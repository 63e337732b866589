"""Two ways of doing the same, timed one after the other, again and again."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from hep2gan.training.profiler import Spread

T = TypeVar("T")


class Ratio(NamedTuple):
    """Ours over theirs: the median of the pairs' ratios and its quartiles, with both medians."""

    median: float
    low: float
    high: float
    ours: float
    theirs: float
    pairs: int

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> "Ratio":
        """From figures measured in pairs, in the same unit (seconds, bytes, cells a second)."""
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        spread = Spread.of(ratios)
        medians = statistics.median(ours), statistics.median(theirs)
        return cls(spread.median, spread.low, spread.high, *medians, len(ratios))

    @property
    def inverse(self) -> "Ratio":
        """Theirs over ours: of two times, the ratio of the speeds."""
        return Ratio(
            1 / self.median, 1 / self.high, 1 / self.low, self.theirs, self.ours, self.pairs
        )


def paired(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    pairs: int,
    warm: int = 1,
) -> Ratio:
    """Seconds of `ours` over seconds of `theirs`, from `pairs` pairs after `warm` that don't count.

    Which of the two goes first alternates, so that a machine which slows down favours neither.
    """
    return Ratio.of(*seconds(ours, theirs, pairs=pairs, warm=warm))


def seconds(
    ours: Callable[[], object], theirs: Callable[[], object], *, pairs: int, warm: int = 1
) -> tuple[list[float], list[float]]:
    """The times behind `paired`: of `ours` and of `theirs`, pair by pair."""
    return in_pairs(partial(_timed, ours), partial(_timed, theirs), pairs=pairs, warm=warm)


def in_pairs(
    ours: Callable[[], T], theirs: Callable[[], T], *, pairs: int, warm: int = 1
) -> tuple[list[T], list[T]]:
    """What the calls give, pair by pair, for calls that measure themselves; see `paired`."""
    mine, others = [], []
    for pair in range(-warm, pairs):
        if pair % 2:
            other, own = theirs(), ours()
        else:
            own, other = ours(), theirs()
        if pair >= 0:
            mine.append(own)
            others.append(other)
    return mine, others


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
