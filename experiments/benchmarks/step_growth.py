"""A training step as images and batches grow: `python -m experiments.benchmarks.step_growth`.

Time per step and peak memory of method=proposed on drawn cells, over image sizes and batches, with
the fitted growth, as a Markdown table; the figure goes to runs/benchmarks. Each reading is a
process of its own that trains as hep2gan-train does; the readings are made in rounds, every other
one backwards, so that a machine that slows down favours no end of the table.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.benchmarks.__main__ import FOLDER, machine
from experiments.benchmarks.growth_figure import Costs, growth_figure
from experiments.benchmarks.growth_fit import Growth
from experiments.benchmarks.rows import number
from experiments.benchmarks.small_run import small_run
from experiments.benchmarks.training_step import FEW_CELLS, SIZES
from hep2gan.training.callbacks.throughput import GIB, peak_memory_gib
from hep2gan.training.profiler import Spread

WARM = 2
"""Steps of a reading that do not count."""
MIB = GIB / 2**20


class Reading(NamedTuple):
    """seconds: of each step. held: MiB at most before the first of them; peak: until the end."""

    seconds: list[float]
    held: float
    peak: float

    @property
    def training(self) -> float:
        """MiB that training took beyond what was held before."""
        return self.peak - self.held


class Cost(NamedTuple):
    """Of a size and a batch: median and quartiles of a step's seconds; medians of MiB."""

    step: float
    low: float
    high: float
    training: float
    peak: float

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "Cost":
        """Over the steps of all readings."""
        seconds = [second for reading in readings for second in reading.seconds]
        _, step, low, high = Spread.of(seconds)
        training = statistics.median(reading.training for reading in readings)
        return cls(step, low, high, training, statistics.median(one.peak for one in readings))


def trained(networks: str, size: int, batch: int, steps: int) -> Reading:
    """Train in this process."""
    marks: list[float] = []
    held: list[float] = []

    def step(*_: Any) -> None:
        if not held:
            held.append(_mib())
        marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        of_point = (f"data.size={size}", f"trainer.batch_size={batch}")
        # From one forward of G to the next is a whole step, loader and callbacks included.
        given = (*SIZES[networks], FEW_CELLS, "trainer.max_epochs=1", *of_point)
        run = small_run(Path(folder), *given, batches=WARM + steps + 1)
        assert run.task.generator is not None
        run.task.generator.register_forward_pre_hook(step)
        run.train()
    between = [after - before for before, after in pairwise(marks)]
    return Reading(between[WARM:], held[0], _mib())


def _mib() -> float:
    return (peak_memory_gib(torch.device("cpu")) or 0.0) * MIB


def read(networks: str, size: int, batch: int, steps: int) -> Reading:
    """The same in a process of its own. Raises CalledProcessError where it fails."""
    given = [networks, str(size), str(batch), str(steps)]
    command = [sys.executable, "-m", "experiments.benchmarks.step_growth", "--one", *given]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Reading(*json.loads(shown.splitlines()[-1]))


def costs(
    read: Callable[[int, int], Reading], points: Sequence[tuple[int, int]], rounds: int
) -> dict[tuple[int, int], Cost]:
    """What each (size, batch) costs, read once a round, every other round backwards."""
    found: dict[tuple[int, int], list[Reading]] = {point: [] for point in points}
    for turn in range(rounds):
        for point in reversed(points) if turn % 2 else points:
            print(f"round {turn + 1}: {point[0]} px, batch {point[1]}", file=sys.stderr, flush=True)
            found[point].append(read(*point))
    return {point: Cost.of(readings) for point, readings in found.items()}


def table(found: Mapping[tuple[int, int], Cost]) -> str:
    """The costs as Markdown."""
    lines = [
        "| image size | batch | step (quartiles) | cells/s | memory of training | peak memory |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for (size, batch), cost in found.items():
        step, low, high = (number(1000 * seconds) for seconds in cost[:3])
        lines.append(
            f"| {size} px | {batch} | {step} ms ({low}–{high}) | {number(batch / cost.step)}"
            f" | {number(cost.training)} MiB | {number(cost.peak)} MiB |"
        )
    return "\n".join(lines)


def of_time(found: Mapping[tuple[int, int], Cost]) -> Costs:
    """Seconds of a step."""
    return {point: cost.step for point, cost in found.items()}


def of_memory(found: Mapping[tuple[int, int], Cost]) -> Costs:
    """MiB that training took."""
    return {point: cost.training for point, cost in found.items()}


def main(arguments: Iterable[str]) -> None:
    """Measure, print the table and the fits, draw the figure."""
    options = _parser().parse_args(list(arguments))
    if options.one:
        networks, *numbers = options.one
        print(json.dumps(trained(networks, *map(int, numbers))))
        return
    points = [(size, batch) for size in options.sizes for batch in options.batches]
    found = costs(
        lambda size, batch: read(options.networks, size, batch, options.steps),
        points,
        options.rounds,
    )
    seconds, memory = Growth.of(of_time(found)), Growth.of(of_memory(found))
    print(f"{machine()}; {options.networks} networks\n\n{table(found)}\n")
    print(seconds.sentence("Time per step"))
    print(memory.sentence("Memory of training, without what was held before,"))
    print("What does not grow (weights, optimizers, kernels) makes exponents smaller.")
    path = FOLDER / f"step_growth_{options.networks}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = growth_figure(
        {
            "time per step (s)": (of_time(found), seconds),
            "memory of training (MiB)": (of_memory(found), memory),
        }
    )
    figure.savefig(path, dpi=300)
    print(f"\nFigure: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.step_growth")
    parser.add_argument("--networks", choices=SIZES, default="compact", help="compact or full")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128], help="px")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32], help="cells")
    parser.add_argument("--steps", type=int, default=8, help="that count, in a reading")
    parser.add_argument("--rounds", type=int, default=3, help="readings of each size and batch")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    # What a run says of its data is no matter here.
    logging.getLogger("hep2gan").setLevel(logging.ERROR)
    main(sys.argv[1:])
