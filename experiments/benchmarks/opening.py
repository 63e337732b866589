"""Opening a store of a million cells, against a store of a thousand.

Both are blank stores of 128 px (their pixels are holes in sparse files) that were found whole
before, as every store is after its first start; their pages lie in the system's memory.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from experiments.benchmarks.blank_stores import (
    blank_store,
    first_batch,
    given_batch,
    memory,
    opened,
    order,
    whole,
)
from experiments.benchmarks.pairs import Ratio, paired
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import STORES
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store

CELLS = (1_000_000, 1_000)
REPEATS = 10


def measure(cells: tuple[int, int] = CELLS, pairs: int = 15, processes: int = 3) -> list[Row]:
    """Time and memory."""
    torch.set_num_threads(1)
    STORES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STORES) as folder:
        large, small = (blank_store(Path(folder) / str(count), count) for count in cells)

        splits = {path: whole(opened(path)) for path in (large, small)}

        def row(what: str, then: Callable[[Store, Split], object]) -> Row:
            both = (partial(repeated, path, splits[path], then) for path in (large, small))
            seconds = paired(*both, pairs=pairs)
            # Of one opening, as the row shows them.
            ours, theirs = seconds.ours / REPEATS, seconds.theirs / REPEATS
            each = seconds._replace(ours=ours, theirs=theirs)
            return Row(f"{what}, {cells[0]:,} cells", f"{cells[1]:,} cells", "at most", 1.5, each)

        drawing = paired(
            partial(order, splits[large]),
            lambda: first_batch(opened(large), splits[large]),
            pairs=pairs,
        )
        processes_of_both = [(memory(large), memory(small)) for _ in range(processes)]
        return [
            row("opening a store", lambda store, split: None),
            row("opening, and a batch of given cells", given_batch),
            row("opening, and the first batch of training", first_batch),
            # Why the row above is not met: what comes first is known when all are shuffled.
            Row(
                f"drawing the order of {cells[0]:,} cells",
                "opening, and the first batch of training",
                "at least",
                0.5,
                drawing,
            ),
            Row(
                f"memory of a process with a first batch, {cells[0]:,} cells",
                f"{cells[1]:,} cells",
                "at most",
                1.02,
                Ratio.of(*zip(*processes_of_both, strict=True)),
                "MiB",
            ),
        ]


def repeated(path: Path, split: Split, then: Callable[[Store, Split], object]) -> None:
    """Open a store and go on, several times: once is too short for the clock."""
    for _ in range(REPEATS):
        then(opened(path), split)
