"""Two ranks of one thread each against one rank of one thread, at the same global batch.

All are hep2gan-train as users start it; cells a second are those of metrics.csv, from the second
epoch on. Beside it stands what the machine gives to two trainings that know nothing of each other:
where those slow each other down, so do two ranks.
"""

import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from os import environ
from pathlib import Path

from experiments.benchmarks.pairs import Ratio, in_pairs
from experiments.benchmarks.processes import python
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import COMPACT, STORES
from hep2gan.runs.metrics_csv import read_metrics_csv

SPEED = "speed/cells_per_second"
PAIRS = 3
GIVEN = (
    *COMPACT, "data=phantom", "data.count=640", f"stores={STORES}", "trainer.max_epochs=4",
    "trainer.eval_batch_size=32",
)  # fmt: skip
ONE = (*GIVEN, "trainer=cpu", "trainer.batch_size=32")
TWO = (*GIVEN, "trainer=ddp", "trainer.accelerator=cpu", "trainer.batch_size=32")
HALF = (*GIVEN, "trainer=cpu", "trainer.batch_size=16")


def measure() -> list[Row]:
    """Ranks, then what the machine allows them."""
    # Draws and packs the cells where that was not done yet.
    cells_per_second(ONE)
    ranks = in_pairs(
        lambda: cells_per_second(TWO), lambda: cells_per_second(ONE), pairs=PAIRS, warm=0
    )
    apart = in_pairs(
        lambda: cells_per_second(HALF, HALF), lambda: cells_per_second(HALF), pairs=PAIRS, warm=0
    )
    words = "compact networks, one thread a process"
    return [
        Row(
            f"two ranks of 16 cells, {words}", "one rank of 32", "at least", 1.85,
            Ratio.of(*ranks), "cells/s",
        ),
        Row(
            f"two separate trainings at once, {words}", "one alone", "at least", 1.85,
            Ratio.of(*apart), "cells/s",
        ),
    ]  # fmt: skip


def cells_per_second(*trainings: Sequence[str]) -> float:
    """Of trainings that run at the same time, together; each the median of its later epochs."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / str(number) for number in range(len(trainings))]
        started = [
            subprocess.Popen(
                python("-m", "hep2gan.cli.train", *overrides, f"run_dir={run}"),
                env={**environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
            )
            for overrides, run in zip(trainings, runs, strict=True)
        ]  # fmt: skip
        for process in started:
            if status := process.wait():
                raise RuntimeError(f"a training ended with status {status}; it said so above")
        return sum(speed(run / "metrics.csv") for run in runs)


def speed(curves: Path) -> float:
    """Cells a second of a run: the median of its epochs after the first, which warms up."""
    told = [float(row[SPEED]) for row in read_metrics_csv(curves).rows if row[SPEED]]
    return statistics.median(told[1:])
