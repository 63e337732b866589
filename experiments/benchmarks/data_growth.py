"""Cost as the data grow: `python -m experiments.benchmarks.data_growth [FIGURE.png]`.

Blank stores of a thousand to a million cells of 128 px (see `blank_stores`), one thread. Opening is
that of a store found whole before. A first batch draws the order of its epoch. A batch is one of
200, of 16 cells, from the store to a training step. Memory is a process's own, with a first batch.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from experiments.benchmarks.__main__ import machine
from experiments.benchmarks.blank_stores import (
    blank_store,
    first_batch,
    memory,
    opened,
    order,
    training_batches,
    whole,
)
from experiments.benchmarks.rows import number
from experiments.benchmarks.small_run import STORES
from hep2gan.data.splits import Split, make_split
from hep2gan.data.store.store import Store

CELLS = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = {
    "opening": "opening, ms",
    "random": "random split, ms",
    "specimen": "specimen split, ms",
    "order": "order of an epoch, ms",
    "first": "first batch, ms",
    "batch": "a batch, ms",
    "memory": "memory, MiB",
}


@dataclass(frozen=True)
class Cost:
    """What a store of so many cells takes: milliseconds, and MiB of memory."""

    cells: int
    opening: float
    random: float
    specimen: float
    order: float
    first: float
    batch: float
    memory: float


def cost(folder: Path, cells: int, repeats: int = 7, batches: int = 200) -> Cost:
    """Medians of `repeats` measurements on a store made in `folder`."""
    path = blank_store(folder / str(cells), cells)
    store = opened(path)
    split = whole(store)
    splits = {
        kind: milliseconds(partial(make_split, store, kind=kind, test_fraction=0.2), repeats)
        for kind in ("random", "specimen")
    }
    return Cost(
        cells,
        opening=milliseconds(partial(opened, path), repeats),
        order=milliseconds(partial(order, split), repeats),
        first=milliseconds(lambda: first_batch(opened(path), split), repeats),
        batch=per_batch(store, split, batches, repeats),
        memory=memory(path),
        **splits,
    )


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median of some calls, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def per_batch(store: Store, split: Split, batches: int, repeats: int) -> float:
    """Milliseconds of a batch after the first, as the median of passes over `batches`."""
    times = []
    for _ in range(repeats + 1):
        following = training_batches(store, split)
        next(following)
        start = time.perf_counter()
        seen = sum(1 for _ in islice(following, batches))
        times.append(1000 * (time.perf_counter() - start) / seen)
    return statistics.median(times[1:])


def exponent(cells: Sequence[int], values: Sequence[float]) -> float:
    """The b of a·cellsᵇ that fits best: least squares of the logarithms."""
    return float(np.polyfit(np.log(cells), np.log(values), 1)[0])


def table(costs: Sequence[Cost]) -> str:
    """Costs as a Markdown table, with the fitted growth of each in the last line."""
    cells = [found.cells for found in costs]
    lines = ["| cells | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for found in costs:
        values = (number(asdict(found)[name]) for name in COLUMNS)
        lines.append(f"| {found.cells:,} | " + " | ".join(values) + " |")
    fitted = (exponent(cells, [asdict(found)[name] for found in costs]) for name in COLUMNS)
    # Zero has no sign.
    grown = " | ".join(f"n^{round(power, 2) + 0.0:.2f}" for power in fitted)
    return "\n".join([*lines, f"| growth | {grown} |"])


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and draw it where a file is named."""
    torch.set_num_threads(1)
    STORES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STORES) as folder:
        costs = [cost(Path(folder), cells) for cells in CELLS]
    print(f"{machine()}, one thread used\n\n{table(costs)}")
    if arguments:
        from experiments.benchmarks.data_growth_figure import draw

        draw(costs, Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
