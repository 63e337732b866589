"""Chunks of cells over processes, with a bounded number under way."""

import math
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from hep2gan.data.store.pack_worker import Chunk, Done, pack_chunk, start_worker
from hep2gan.data.store.processes import cores
from hep2gan.errors import Hep2ganError

_WORTH_A_PROCESS = 512
"""Cells below which starting one more process takes longer than it saves."""


def run_chunks(
    chunks: Iterable[Chunk], cells: int, workers: int | None
) -> Generator[Done, None, None]:
    """Pack chunks, in this process or in several; results come as they are ready.

    Raises Hep2ganError when a worker process dies.
    """
    count = workers or min(cores(), math.ceil(cells / _WORTH_A_PROCESS))
    if count <= 1:
        yield from map(pack_chunk, chunks)
        return
    # Spawned, since the calling process may hold threads that do not survive a fork.
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=start_worker)
    try:
        yield from _in_flight(pool, chunks, 4 * count)
    except BrokenProcessPool as error:
        rule = "a worker was killed, as for want of memory, or the script has no main guard"
        fix = 'set workers=1, or put the call under `if __name__ == "__main__":`'
        raise Hep2ganError("a worker process ended early", rule, fix) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_flight(pool: ProcessPoolExecutor, chunks: Iterable[Chunk], limit: int) -> Iterator[Done]:
    pending: set[Future[Done]] = set()
    for chunk in chunks:
        pending.add(pool.submit(pack_chunk, chunk))
        if len(pending) >= limit:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    while pending:
        ready, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in ready)
