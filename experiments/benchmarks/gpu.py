"""What each switch for a GPU does on the one at hand: `python -m experiments.benchmarks.gpu`.

Each is measured against the same configuration without it. The two are real trainings of the
paper's networks in processes of their own, which take turns by blocks of steps.
"""

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from experiments.benchmarks.__main__ import machine
from experiments.benchmarks.blocks import Block, Length
from experiments.benchmarks.configured import composed
from experiments.benchmarks.pairs import Ratio, in_pairs
from experiments.benchmarks.rows import number
from experiments.benchmarks.trainings import Training
from hep2gan.data.prepare import open_store


@dataclass(frozen=True)
class Switch:
    """A switch: the overrides that put it on, and those of the configuration beside it."""

    name: str
    on: tuple[str, ...]
    off: tuple[str, ...] = ()


SWITCHES = (
    Switch("store on the GPU", ("trainer.resident=true",)),
    Switch("channels last", ("trainer.channels_last=true",)),
    Switch("bfloat16", ("trainer.precision=bf16-mixed",)),
    Switch("TF32", ("trainer.tf32=true",), ("trainer.tf32=false",)),
    Switch("compiled", ("trainer.compile=true",)),
    Switch("compiled, CUDA graphs", ("trainer.compile=reduce-overhead",)),
    Switch(
        "fused optimizers", ("trainer.fused_optimizers=true",), ("trainer.fused_optimizers=false",)
    ),
    Switch("not deterministic", ("trainer.deterministic=false",)),
    Switch("2 loader processes", ("trainer.workers=2",)),
    Switch("trainer=gpu", ("trainer=gpu",)),
    Switch("trainer=gpu, CUDA graphs", ("trainer=gpu", "trainer.compile=reduce-overhead")),
)
DRAWN = ("data=phantom", "pretrained=false", "stores=runs/benchmarks/stores")

LENGTH = Length()
HEAD = (
    "| switch | step with/without (quartiles) | step | without | memory | without | cells/s"
    " | without | between steps | without | pairs |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def measured(
    switches: Sequence[Switch] = SWITCHES,
    *,
    pairs: int = 7,
    length: Length = LENGTH,
    accelerator: str = "gpu",
    given: Sequence[str] = DRAWN,
) -> Iterator[str]:
    """A line of the table for each switch, as soon as it is known.

    accelerator, given: a test measures tiny networks on the CPU.
    """
    base = (*given, f"trainer.accelerator={accelerator}")
    # Drawn once, before two trainings want it.
    open_store(composed(base)["data"])
    for switch in switches:
        on, off = ((*base, *overrides) for overrides in (switch.on, switch.off))
        try:
            with Training(on, length, pairs + 1) as one, Training(off, length, pairs + 1) as other:
                yield line(switch.name, *in_pairs(one.block, other.block, pairs=pairs))
        except RuntimeError as error:
            yield f"| {switch.name} | **failed**: {error} |" + " |" * 9


def line(name: str, ours: Sequence[Block], theirs: Sequence[Block]) -> str:
    """A row of the table from the blocks with a switch and those without it, in pairs."""
    r = Ratio.of([block.step for block in ours], [block.step for block in theirs])

    def both(value: Callable[[Block], float], unit: str) -> str:
        medians = (statistics.median(map(value, blocks)) for blocks in (ours, theirs))
        return " | ".join(f"{number(median)}{unit}" for median in medians)

    return (
        f"| {name} | **{number(r.median)}** ({number(r.low)}–{number(r.high)})"
        f" | {both(lambda block: 1000 * block.step, ' ms')}"
        f" | {both(lambda block: block.memory, ' GiB')}"
        f" | {both(lambda block: block.cells_per_second, '')}"
        f" | {both(lambda block: 100 * block.waiting, ' %')} | {r.pairs} |"
    )


def main() -> int:
    """The exit status: 2 without a GPU, 1 where a switch failed."""
    if not torch.cuda.is_available():
        print(
            "torch finds no GPU here (torch.cuda.is_available() is False): there is nothing to"
            " measure. make bench-gpu is for a machine with an NVIDIA GPU.",
            file=sys.stderr,
        )
        return 2
    print(f"{machine()}\n\n{HEAD}", flush=True)
    failed = False
    for row in measured():
        print(row, flush=True)
        failed = failed or "**failed**" in row
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
