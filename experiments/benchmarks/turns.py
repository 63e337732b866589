"""Blocks of our training steps and blocks of other loops' steps, in turns within one process."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch


class Turns:
    """Stops our training after every `block` steps, and lets each of the others have its block.

    others: each does its block when it is called. times: seconds of each block, ours first. Who of
    the others goes first alternates.
    """

    def __init__(self, others: Sequence[Callable[[], object]], block: int) -> None:
        self._others, self._block, self._steps = others, block, 0
        self.times: list[list[float]] = [[] for _ in (None, *others)]
        self._since = time.perf_counter()

    def step(self) -> None:
        """To be called once in every step of ours, at the same point of it."""
        if self._steps and self._steps % self._block == 0:
            self.times[0].append(time.perf_counter() - self._since)
            self._let_others()
        if self._steps % self._block == 0:
            self._since = time.perf_counter()
        self._steps += 1

    def _let_others(self) -> None:
        order = list(enumerate(self._others, 1))
        for number, other in order if len(self.times[0]) % 2 else reversed(order):
            with torch_as_it_comes():
                start = time.perf_counter()
                other()
                self.times[number].append(time.perf_counter() - start)


@contextmanager
def torch_as_it_comes() -> Iterator[None]:
    """Without what our trainer sets for the whole process, which would slow the others too."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
