"""The training step of method=proposed: time, memory and waiting for data, against plain loops.

Each side trains in a process of its own, and the two take turns by blocks of steps, so that neither
the start nor the settings of one process count for the other. `python -m
experiments.benchmarks.step gpu` measures each switch for a GPU on the one at hand.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from experiments.benchmarks.compare import (
    COMPACT,
    CPU,
    HEAD,
    PAPER,
    SYNTHETIC,
    Ratio,
    Row,
    compare,
    compose_config,
    describe_machine,
    run_python,
)
from experiments.benchmarks.trainings import Block, Length, Side, measure_trainings
from hep2gan.data.prepare import open_store
from hep2gan.runs.metrics_csv import read_metrics_csv


def compare_steps(quick: bool = False) -> list[Row]:
    """Compare the step to a plain loop and to a loop that runs G anew for each update.

    Args:
        quick: one pair of single steps of compact networks.

    Returns:
        The rows of the table: time with and without channels last, peak memory, waiting for data.
    """
    sizes = {
        "compact networks, 64 px": (COMPACT, Length(5, 1), 30),
        "the paper's networks, 128 px": (PAPER, Length(2, 1), 6),
    }
    if quick:
        sizes = {"compact networks, 64 px": (COMPACT, Length(1, 1), 1)}
    rows = []
    for words, (networks, length, pairs) in sizes.items():
        base = (*CPU, *networks, "data.count=300")
        for switch in ((), ("trainer.channels_last=true",)):
            ours: Side = ("trainer", (*base, *switch))
            plain = measure_trainings(ours, ("plain loop", base), length, pairs)
            anew = measure_trainings(ours, ("G anew", base), length, pairs)
            what = ", ".join(["training step", words, *switch])
            rows += [
                Row(what, "a plain loop", ratio_of("step", *plain), at_most=1.02),
                Row(what, "G anew for each update", ratio_of("step", *anew), at_most=0.8),
            ]
            if not switch:
                memory, waits = ratio_of("memory", *plain), ratio_of_waiting(plain[0])
                rows += [
                    Row(f"peak memory, {words}", "a plain loop", memory, "MiB", at_most=1.05),
                    Row(f"waiting for data, {words}", "the whole step", waits, at_most=0.01),
                ]
    return rows


def compare_ranks(quick: bool = False) -> list[Row]:
    """Compare two ranks of one thread to one, and two trainings at once to one alone.

    All are hep2gan-train as users start it. Two trainings that share nothing show what the machine
    allows: where they slow each other down, so do two ranks.

    Args:
        quick: one pair of two short epochs.

    Returns:
        The rows of the table, in cells per second.
    """
    cells, epochs, pairs = (100, 2, 1) if quick else (640, 4, 3)
    base = (
        *SYNTHETIC, *CPU, *COMPACT, f"data.count={cells}", f"trainer.max_epochs={epochs}",
        "trainer.eval_batch_size=4" if quick else "trainer.eval_batch_size=32",
    )  # fmt: skip
    one, half = (*base, "trainer.batch_size=32"), (*base, "trainer.batch_size=16")
    two = (*one, "trainer=ddp")
    # Generated and packed before two trainings want them.
    open_store(compose_config(*base).source)
    ranks = compare(lambda: train_at_once(two), lambda: train_at_once(one), pairs=pairs, warm_up=0)
    apart = compare(
        lambda: train_at_once(half, half), lambda: train_at_once(half), pairs=pairs, warm_up=0
    )
    words = "compact networks, one thread a process"
    return [
        Row(f"two ranks of 16 cells, {words}", "one rank of 32", ranks, "cells/s", at_least=1.85),
        Row(
            f"two separate trainings at once, {words}", "one alone", apart, "cells/s",
            at_least=1.85,
        ),
    ]  # fmt: skip


def train_at_once(*trainings: Sequence[str]) -> float:
    """Run several trainings at the same time, with one thread a process.

    Args:
        trainings: the overrides of each.

    Returns:
        Cells per second of all together; of each, the median of its epochs after the first.
    """

    def train(overrides: Sequence[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            run_python(
                "-m", "hep2gan.cli.train", *overrides, f"run_dir={folder}/run",
                environment={"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            rows = read_metrics_csv(Path(folder) / "run" / "metrics.csv").rows
        name = "speed/cells_per_second"
        return statistics.median([float(row[name]) for row in rows if row[name]][1:])

    with ThreadPoolExecutor(len(trainings)) as pool:
        return sum(pool.map(train, trainings))


SWITCHES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "store on the GPU": (("trainer.cache_on_device=true",), ()),
    "channels last": (("trainer.channels_last=true",), ()),
    "bfloat16": (("trainer.precision=bf16-mixed",), ()),
    "TF32": (("trainer.tf32=true",), ("trainer.tf32=false",)),
    "compiled": (("trainer.compile=true",), ()),
    "compiled, CUDA graphs": (("trainer.compile=reduce-overhead",), ()),
    "fused optimizers": (
        ("trainer.fused_optimizers=true",),
        ("trainer.fused_optimizers=false",),
    ),
    "not deterministic": (("trainer.deterministic=false",), ()),
    "2 loader processes": (("trainer.num_workers=2",), ()),
    "trainer=gpu": (("trainer=gpu",), ()),
    "trainer=gpu, CUDA graphs": (("trainer=gpu", "trainer.compile=reduce-overhead"), ()),
}
"""Overrides with the switch and without it."""


def list_gpu_comparisons(*base: str) -> Iterator[tuple[str, str, Side, Side]]:
    """List what is compared on a GPU.

    Args:
        base: overrides of both sides.

    Yields:
        What, against what, and both sides.
    """
    for name, (on, off) in SWITCHES.items():
        yield name, "without it", ("trainer", (*base, *on)), ("trainer", (*base, *off))
    for name, on in {"as it comes": (), "trainer=gpu": ("trainer=gpu",)}.items():
        same = (*base, *on)
        # With trainer=gpu also in bfloat16, channels last, its store on the GPU.
        yield name, "a plain loop with the same settings", ("trainer", same), ("plain loop", same)


def measure_gpu(
    base: Sequence[str] = (*PAPER, "trainer.accelerator=gpu"),
    length: Length = Length(30, 5),  # noqa: B008
    pairs: int = 7,
) -> int:
    """Print what each switch for a GPU does, row by row as they are measured.

    Args:
        base: overrides of all trainings.
        length: steps of a block.
        pairs: blocks of each side.

    Returns:
        The exit status: 2 without a GPU, 1 where a comparison failed.
    """
    if not torch.cuda.is_available():
        print(
            "torch finds no GPU (torch.cuda.is_available() is False). make bench-gpu is for a"
            " machine with an NVIDIA GPU.",
            file=sys.stderr,
        )
        return 2
    print(f"{describe_machine()}\n\n{HEAD}", flush=True)
    failed = False
    for what, against, ours, theirs in list_gpu_comparisons(*base):
        try:
            blocks = measure_trainings(ours, theirs, length, pairs)
        except RuntimeError as error:
            failed = True
            print(f"| {what} | {against} | **failed**: {error} |" + " |" * 5, flush=True)
            continue
        for row in (
            Row(f"training step, {what}", against, ratio_of("step", *blocks)),
            Row(f"peak memory, {what}", against, ratio_of("memory", *blocks), "MiB"),
            Row(f"waiting for data, {what}", "the whole step", ratio_of_waiting(blocks[0])),
        ):
            print(row.line, flush=True)
    return int(failed)


def ratio_of(value: str, ours: Sequence[Block], theirs: Sequence[Block]) -> Ratio:
    """Compare one value of the blocks of two sides.

    Args:
        value: a field of `Block`.
        ours: blocks of one side, in the order of the pairs.
        theirs: blocks of the other side.

    Returns:
        The ratio of ours to theirs.
    """
    return Ratio.of(*([getattr(block, value) for block in side] for side in (ours, theirs)))


def ratio_of_waiting(blocks: Sequence[Block]) -> Ratio:
    """Compare the waiting within a step to the whole step.

    Args:
        blocks: of one training.

    Returns:
        The ratio of both times.
    """
    return Ratio.of([block.waiting for block in blocks], [block.step for block in blocks])


if __name__ == "__main__":
    usage = "usage: python -m experiments.benchmarks.step gpu"
    sys.exit(measure_gpu() if sys.argv[1:] == ["gpu"] else usage)
