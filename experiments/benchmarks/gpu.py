"""What a training costs on a GPU: `python -m experiments.benchmarks.gpu` prints one table and JSON.

Steps of ours, eager and replayed as one CUDA graph, take turns with a plain loop and are held
against what the device itself needs for their kernels; whole trainings are started as users do.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from experiments.benchmarks.compare import (
    COMPACT,
    CPU,
    HEAD,
    PAPER,
    SYNTHETIC,
    Ratio,
    Row,
    compose_config,
    describe_machine,
    measure_in_turns,
    run_python,
)
from experiments.benchmarks.step import ratio_of, ratio_within
from experiments.benchmarks.trainings import Block, Length, Side, Training, start_trainings
from hep2gan.data.prepare import open_store
from hep2gan.runs.metrics_csv import read_metrics_csv

EAGER, GRAPHED = "trainer.cuda_graph=false", "trainer.cuda_graph=true"
PLAIN: Final = "plain loop"
KERNELS = "its kernels on the device"
EPOCH = 12_236
"""Cells of an epoch: nine tenths of the set of ICPR 2016."""
SECONDS = 240.0
"""Nothing new begins later than this, so that all ends within five minutes."""
REACH: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("step, graphed, bf16, batch 16", PLAIN): {"at_most": 0.25},
    ("step, graphed, bf16, batch 16", KERNELS): {"at_most": 1.3},
    ("step, eager, bf16, batch 16", PLAIN): {"at_most": 1.05},
    ("step, eager, float32, batch 16", PLAIN): {"at_most": 1.05},
    ("step, trainer=gpu", "trainer=default"): {"at_most": 0.3},
    ("start to step 10, graphed, beyond eager", "15 s"): {"at_most": 1},
    ("weights after 3 epochs, graphed from eager", "eager from eager, same seed"): {"at_most": 2},
    ("4 jobs at once, compact networks", "one after another"): {"at_least": 2.5},
}
"""Targets of ratios, by what is measured and against what."""


class Plan(NamedTuple):
    """What is measured on a device, and how much of it.

    Attributes:
        networks: Overrides of the trainings whose steps are timed.
        sets: Programs that take turns, by name, by setting ("bf16, batch 16").
        versions: Overrides of eager and of graphed trainings; both eager where there are no graphs.
        small: Overrides of the jobs of a sweep.
        length: Steps of a block.
        rounds: Blocks of each program.
        jobs: Numbers of jobs at once.
    """

    networks: Sequence[str]
    sets: Sequence[tuple[str, Mapping[str, Side]]]
    versions: Mapping[str, Sequence[str]]
    small: Sequence[str]
    length: Length
    rounds: int
    jobs: Sequence[int]


def plan_gpu() -> Plan:
    """Plan what is measured on a GPU: the paper's networks at 128 px, and jobs of compact ones."""
    base = (*PAPER, "data.count=300", "trainer=gpu")

    def programs(*overrides: str) -> dict[str, Side]:
        same = (*base, *overrides)
        return {
            PLAIN: (PLAIN, same),
            "eager": ("trainer", (*same, EAGER)),
            "graphed": ("trainer", (*same, GRAPHED)),
        }

    default = (*PAPER, "data.count=300", "trainer.accelerator=gpu")
    as_it_comes: dict[str, Side] = {
        "trainer=gpu": ("trainer", base),
        "trainer=default": ("trainer", default),
    }
    float32, large = "trainer.precision=32-true", "trainer.batch_size=64"
    largest = programs(float32, large)
    # Two at a time: three need more memory than a card of 80 GB has.
    pairs = [{name: largest[name] for name in (PLAIN, other)} for other in ("eager", "graphed")]
    return Plan(
        networks=base,
        sets=[
            ("bf16, batch 16", programs() | as_it_comes),
            ("float32, batch 16", programs(float32)),
            ("bf16, batch 64", programs(large)),
            *(("float32, batch 64", pair) for pair in pairs),
        ],
        versions={"eager": (EAGER,), "eager again": (EAGER,), "graphed": (GRAPHED,)},
        small=(*COMPACT, "trainer=gpu", "data.count=700", "trainer.max_epochs=8"),
        length=Length(timed=10, settling=3),
        rounds=3,
        jobs=(1, 2, 4),
    )  # fmt: skip


def plan_quick() -> Plan:
    """Plan the smallest setting, on the CPU: only shows that all works, without any graph."""
    base = (*COMPACT, *CPU, "data.count=100")
    return Plan(
        networks=(*base, "trainer.log_every_n_steps=1"),
        sets=[("float32, batch 16", {PLAIN: (PLAIN, base), "eager": ("trainer", base)})],
        versions={"eager": (), "eager again": (), "graphed": ()},
        small=(*base, "trainer.max_epochs=2"),
        length=Length(1, 1),
        rounds=1,
        jobs=(1, 2),
    )


# ---------------------------------------------------------------- steps


def measure_steps(
    programs: Mapping[str, Side], length: Length, rounds: int, missing: list[str]
) -> dict[str, list[Block]]:
    """Time the steps of programs that take turns; then profile a block of each.

    Args:
        programs: What trains, by name.
        length: Steps of a block.
        rounds: Blocks of each.
        missing: Gets a line for each block that failed, while the other programs go on, and for
            each graphed program whose step was not recorded.

    Returns:
        By name, the blocks of each that did not fail, with the kernels' time of the profiled one.
    """

    def train_block(name: str, training: Training, profiled: bool = False) -> Block | None:
        try:
            return training.train_block(profiled)
        except RuntimeError as error:
            missing.append(f"{name}: {error}")
            return None

    with start_trainings(*programs.values(), length=length, blocks=rounds + 2) as started:
        sides = [partial(train_block, *pair) for pair in zip(programs, started, strict=True)]
        timed = measure_in_turns(*sides, pairs=rounds)
        profiled = [side(profiled=True) for side in sides]
    for (name, (_, overrides)), blocks in zip(programs.items(), timed, strict=True):
        if GRAPHED in overrides and blocks[-1] and not blocks[-1].recordings:
            missing.append(f"{name}: trained as usual, since the step could not be recorded")
    return {
        name: [block._replace(kernels=last.kernels if last else 0.0) for block in blocks if block]
        for name, blocks, last in zip(programs, timed, profiled, strict=True)
        if all(blocks)
    }


def list_step_rows(setting: str, found: Mapping[str, Sequence[Block]]) -> list[Row]:
    """List the rows of a setting: steps, kernels, memory and epochs an hour.

    Args:
        setting: Precision and batch, "bf16, batch 16".
        found: Blocks by program.

    Returns:
        The rows of the programs that are there.
    """
    rows, batch = [], int(setting.rpartition(" ")[2])

    def per_hour(blocks: Sequence[Block]) -> list[float]:
        return [3600 / (EPOCH // batch * block.step) for block in blocks]

    for name in [name for name in ("eager", "graphed") if name in found]:
        ours, words = found[name], f"{name}, {setting}"
        if plain := found.get(PLAIN):
            epochs = Ratio.of(per_hour(ours), per_hour(plain))
            memory = ratio_of("memory", ours, plain)
            rows += [
                reach_row(f"step, {words}", PLAIN, ratio_of("step", ours, plain)),
                reach_row(f"epochs of {EPOCH:,} cells, {words}", PLAIN, epochs, "an hour"),
                reach_row(f"peak memory, {words}", PLAIN, memory, "MiB"),
            ]
        if ours[0].kernels:
            rows.append(reach_row(f"step, {words}", KERNELS, ratio_within(ours, "step", "kernels")))
    if {"trainer=gpu", "trainer=default"} <= found.keys():
        ratio = ratio_of("step", found["trainer=gpu"], found["trainer=default"])
        rows.append(reach_row("step, trainer=gpu", "trainer=default", ratio))
    return rows


def reach_row(what: str, against: str, ratio: Ratio, unit: str = "s") -> Row:
    """Make a row of the table, with its target if it has one.

    Args:
        what: What was measured.
        against: What it was compared to.
        ratio: The ratio of both.
        unit: Unit of both.

    Returns:
        The row.
    """
    return Row(what, against, ratio, unit, **REACH.get((what, against), {}))


# ---------------------------------------------------------------- whole trainings


def measure_starts(plan: Plan) -> list[Row]:
    """Start three trainings at once, two of them alike: when they step, and what they learn.

    Args:
        plan: Their networks and versions.

    Returns:
        The rows of the start and of the weights after three epochs.
    """
    with tempfile.TemporaryDirectory() as name:
        folders = {version: Path(name) / version.replace(" ", "_") for version in plan.versions}

        def train(version: str) -> float:
            folder, began = folders[version], time.time()
            run_python(
                "-m", "hep2gan.cli.train", *SYNTHETIC, *plan.networks, *plan.versions[version],
                "trainer.max_epochs=3", f"run_dir={folder}",
                "trusted=[experiments.benchmarks.trainings]", f"+callbacks.watch.folder={folder}",
                "+callbacks.watch._target_=experiments.benchmarks.trainings.WatchTraining",
            )  # fmt: skip
            return float((folder / "stepped").read_text(encoding="ascii")) - began

        with ThreadPoolExecutor(len(folders)) as pool:
            starts = dict(zip(folders, pool.map(train, folders), strict=True))
        load = partial(torch.load, weights_only=True)
        begun, *ended = [load(folders["eager"] / "begun.pt")] + [
            load(folder / "ended.pt") for folder in folders.values()
        ]
    late = [starts["graphed"] - starts[eager] for eager in ("eager", "eager again")]
    eager, again, graphed = ended
    noise = max(compare_weights(again, eager, begun), torch.finfo(torch.bfloat16).eps)
    apart = [compare_weights(graphed, other, begun) for other in (eager, again)]
    epochs = "weights after 3 epochs, graphed from eager"
    return [
        reach_row("start to step 10, graphed, beyond eager", "15 s", Ratio.of(late, [15.0] * 2)),
        reach_row(
            epochs, "eager from eager, same seed", Ratio.of(apart, [noise] * 2), "of the change"
        ),
    ]


def compare_weights(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], begun: Mapping[str, Tensor]
) -> float:
    """Compare the weights of two trainings, as a share of what the training changed.

    Args:
        one: Weights by name, "network.layer.weight".
        other: Those of the other training.
        begun: Those that both began with.

    Returns:
        ‖one - other‖ / ‖other - begun‖ of the network in which it is largest.
    """

    def distance(network: str, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
        parts = [(a[n] - b[n]).double().norm() for n in a if n.partition(".")[0] == network]
        return float(torch.stack(parts).norm())

    networks = {name.partition(".")[0] for name in begun}
    return max(distance(n, one, other) / distance(n, other, begun) for n in sorted(networks))


def measure_jobs(plan: Plan) -> list[Row]:
    """Train small networks side by side on one device, as jobs of a sweep.

    Args:
        plan: The overrides of the jobs, and their numbers.

    Returns:
        The rows: cells per second of all jobs at once, against those of one alone.
    """
    alone, *several = [sweep_cells_per_second(plan, jobs) for jobs in plan.jobs]
    return [
        reach_row(
            f"{jobs} jobs at once, compact networks", "one after another",
            Ratio.of([found], [alone]), "cells/s",
        )
        for jobs, found in zip(plan.jobs[1:], several, strict=True)
    ]  # fmt: skip


def sweep_cells_per_second(plan: Plan, jobs: int) -> float:
    """Run a sweep of jobs that all start at once.

    Args:
        plan: The overrides of the jobs.
        jobs: Their number; each has a seed of its own.

    Returns:
        Cells per second of all jobs together; of each, the median of its epochs after the first.
    """
    name = "speed/cells_per_second"
    with tempfile.TemporaryDirectory() as folder:
        run_python(
            "-m", "hep2gan.cli.train", "-m", *SYNTHETIC, *plan.small, f"runs={folder}",
            f"seed={','.join(map(str, range(jobs)))}", f"hydra.launcher.jobs_per_device={jobs}",
            f"hydra.launcher.slots={jobs}",
        )  # fmt: skip
        found = [read_metrics_csv(path).rows for path in sorted(Path(folder).rglob("metrics.csv"))]
    return sum(
        statistics.median([float(row[name]) for row in rows if row[name]][1:]) for rows in found
    )


# ---------------------------------------------------------------- the table


def measure_all(plan: Plan, show: Callable[[Row], None], seconds: float = SECONDS) -> list[str]:
    """Measure everything, the most wanted first, until the time is over.

    Args:
        plan: What is measured.
        show: Called with each row as soon as it is known.
        seconds: Nothing new begins later than this.

    Returns:
        What is missing, and why.
    """
    began, missing = time.monotonic(), list[str]()

    def steps(setting: str, programs: Mapping[str, Side]) -> list[Row]:
        failures = list[str]()
        found = measure_steps(programs, plan.length, plan.rounds, failures)
        missing.extend(f"step, {setting}, {failure}" for failure in dict.fromkeys(failures))
        return list_step_rows(setting, found)

    parts: list[tuple[str, Callable[[], list[Row]]]] = [
        (f"steps, {setting}, of {', '.join(programs)}", partial(steps, setting, programs))
        for setting, programs in plan.sets
    ]
    # The jobs and the start belong to the reach, batches of 64 do not.
    parts[2:2] = [
        ("starts and weights", partial(measure_starts, plan)),
        ("jobs at once", partial(measure_jobs, plan)),
    ]
    for words, measure in parts:
        if time.monotonic() - began > seconds:
            missing.append(f"{words}: not measured, the time was over")
            continue
        print(f"measuring {words} …", file=sys.stderr, flush=True)
        try:
            for row in measure():
                show(row)
        except RuntimeError as error:
            missing.append(f"{words}: {error}")
    return missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table as it grows, then what is missing, then JSON.

    Args:
        arguments: The command line; None for that of this process.

    Returns:
        The exit status: 2 without a GPU, 1 where a row does not meet its target or is missing.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.gpu")
    parser.add_argument("--quick", action="store_true", help="on the CPU: only show that it works")
    quick = parser.parse_args(arguments).quick
    if not quick and not torch.cuda.is_available():
        print(
            "torch finds no GPU (torch.cuda.is_available() is False). make bench-gpu is for a"
            " machine with an NVIDIA GPU; --quick shows on the CPU that it works.",
            file=sys.stderr,
        )
        return 2
    plan, rows = plan_quick() if quick else plan_gpu(), list[Row]()
    print(f"{describe_machine()}\n\n{HEAD}", flush=True)

    def show(row: Row) -> None:
        rows.append(row)
        print(row.line, flush=True)

    # Generated and packed before several trainings want them.
    for overrides in (plan.networks, plan.small):
        open_store(compose_config(*SYNTHETIC, *overrides).source)
    missing = measure_all(plan, show)
    if quick:
        missing.append("on the CPU nothing is graphed, and operators stand in for kernels")
    values = [asdict(row) | {"ratio": row.ratio._asdict(), "met": row.met} for row in rows]
    told = json.dumps({"machine": describe_machine(), "rows": values, "missing": missing})
    print("", *(f"- {line}" for line in missing), "", told, sep="\n", flush=True)
    return int(not quick and bool(missing or not all(row.met for row in rows)))


if __name__ == "__main__":
    sys.exit(main())
