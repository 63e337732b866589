"""The training step of method=proposed: time, memory and waiting for data, against plain loops.

Each side trains in a process of its own, and the two take turns by blocks of steps, so that neither
the start nor the settings of one process count for the other.
"""

from collections.abc import Sequence

from experiments.benchmarks.compare import COMPACT, CPU, PAPER, Ratio, Row
from experiments.benchmarks.trainings import Block, Length, Side, measure_trainings


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
                memory, waits = (
                    ratio_of("memory", *plain),
                    ratio_within(plain[0], "waiting", "step"),
                )
                rows += [
                    Row(f"peak memory, {words}", "a plain loop", memory, "MiB", at_most=1.05),
                    Row(f"waiting for data, {words}", "the whole step", waits, at_most=0.01),
                ]
    return rows


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


def ratio_within(blocks: Sequence[Block], value: str, whole: str) -> Ratio:
    """Compare two values of the same blocks.

    Args:
        blocks: of one training.
        value: a field of `Block`.
        whole: the one that it is compared to.

    Returns:
        The ratio of both.
    """
    return Ratio.of(*([getattr(block, name) for block in blocks] for name in (value, whole)))
