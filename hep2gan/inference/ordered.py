"""Work for a pool of threads whose results come in the order of what it was given."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R]:
    """Give `work(item)` of each item in turn, while at most `ahead` later ones are under way.

    Items are drawn as they are needed, so that nothing grows with their number. The first error
    that `work` raises is raised when its turn comes; what was not begun is then left out.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
