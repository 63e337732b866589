"""Comparison of two programs measured in turns, the table of results, and what all of them need.

Imports no more than the standard library at its top: processes whose start is timed import it too.
"""

import importlib
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from hep2gan.config import TrainConfig, parse_config

T = TypeVar("T")

STORES = Path("runs/benchmarks/stores")
SYNTHETIC = ("data=phantom", f"stores={STORES}")
"""Overrides: synthetic cells, generated and packed at first use."""
CPU = ("trainer.accelerator=cpu",)
COMPACT = ("scale=laptop",)
"""Overrides: compact networks, 64 px."""
PAPER = ("scale=paper", "pretrained=false")
"""Overrides: the paper's networks, 128 px."""


class Ratio(NamedTuple):
    """Ours over theirs: median and quartiles of the pairs' ratios, and the median of each side."""

    median: float
    low: float
    high: float
    ours: float
    theirs: float
    pairs: int

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> "Ratio":
        """Compute it from values measured in pairs.

        Args:
            ours: values of one side, in the order of the pairs.
            theirs: values of the other side, in the same unit.

        Returns:
            The ratio; both quartiles are the median where there is one pair.
        """
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        several = ratios if len(ratios) > 1 else ratios * 2
        low, median, high = statistics.quantiles(several, n=4, method="inclusive")
        medians = statistics.median(ours), statistics.median(theirs)
        return cls(median, low, high, *medians, len(ratios))


def compare(
    ours: Callable[[], float], theirs: Callable[[], float], *, pairs: int, warm_up: int = 1
) -> Ratio:
    """Measure two things in turns.

    Args:
        ours: measures one side once and returns the value (see `seconds` and `rate`).
        theirs: the same for the other side.
        pairs: measurements of each side that count.
        warm_up: measurements of each side before them that do not.

    Returns:
        The ratio of ours to theirs.
    """
    return Ratio.of(*measure_in_turns(ours, theirs, pairs=pairs, warm_up=warm_up))


def measure_in_turns(*sides: Callable[[], T], pairs: int, warm_up: int = 1) -> list[list[T]]:
    """Call all sides in turns, forwards and backwards.

    Args:
        sides: each measures its side once.
        pairs: calls of each side that count.
        warm_up: calls of each side before them that do not.

    Returns:
        What the calls of each side returned.
    """
    found: list[list[T]] = [[] for _ in sides]
    for pair in range(-warm_up, pairs):
        # A machine that slows down must favour none.
        for side in reversed(range(len(sides))) if pair % 2 else range(len(sides)):
            value = sides[side]()
            if pair >= 0:
                found[side].append(value)
    return found


def seconds(call: Callable[[], object], repeats: int = 1) -> Callable[[], float]:
    """Make a measurement of the time of a call.

    Args:
        call: what is timed.
        repeats: calls in one measurement, for calls too short for the clock.

    Returns:
        A function that measures the seconds of one call.
    """

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats

    return measure


def rate(call: Callable[[], object], count: int) -> Callable[[], float]:
    """Make a measurement of the speed of a call.

    Args:
        call: processes some items.
        count: their number.

    Returns:
        A function that measures the items per second of one call.
    """
    return lambda: count / seconds(call)()


@dataclass(frozen=True)
class Row:
    """One row of the table; `at_most` or `at_least` is the target of the ratio's median."""

    what: str
    against: str
    ratio: Ratio
    unit: str = "s"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether the median meets the target; true where there is none."""
        return (self.at_most is None or self.ratio.median <= self.at_most) and (
            self.at_least is None or self.ratio.median >= self.at_least
        )

    @property
    def line(self) -> str:
        """The row as Markdown."""
        target, met = "–", "–"
        if self.at_most is not None or self.at_least is not None:
            sign, limit = ("≥", self.at_least) if self.at_most is None else ("≤", self.at_most)
            target, met = f"{sign} {limit:g}", "yes" if self.met else "**no**"
        r = self.ratio
        return (
            f"| {self.what} | {self.against} | {target} | **{format_number(r.median)}**"
            f" ({format_number(r.low)}–{format_number(r.high)})"
            f" | {format_number(r.ours)} {self.unit} | {format_number(r.theirs)} {self.unit}"
            f" | {r.pairs} | {met} |"
        )


HEAD = (
    "| what | against | reach | ratio (quartiles) | ours | theirs | pairs | met |\n"
    "|---|---|---|---|---|---|---|---|"
)


def format_number(value: float) -> str:
    """Write a number with three significant digits and without an exponent.

    Args:
        value: the number.

    Returns:
        Its text, with commas between thousands.
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def run_benchmark(name: str, quick: bool) -> list[Row]:
    """Run one benchmark in this process.

    Args:
        name: module of this package and function.
        quick: the smallest setting, which shows that the benchmark works; its ratios mean nothing.

    Returns:
        Its rows of the table.
    """
    module, _, function = name.partition(".")
    imported = importlib.import_module(f"experiments.benchmarks.{module}")
    rows: list[Row] = getattr(imported, function)(quick)
    return rows


def describe_machine() -> str:
    """Name the hardware and the versions of Python and torch.

    Returns:
        One line of text.
    """
    import torch

    named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    model = named[1] if named else platform.processor()
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores of {model}{device}; Python {platform.python_version()},"
        f" torch {torch.__version__}"
    )


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run this Python as a child process until it ends.

    Args:
        arguments: its command line.
        environment: variables beside those of this process.

    Returns:
        Its standard output.

    Raises:
        RuntimeError: the process failed; the message holds its standard error.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with status {done.returncode}:\n{done.stderr}")
    return done.stdout


def compose_config(*overrides: str) -> TrainConfig:
    """Compose the configuration of hep2gan-train.

    Args:
        overrides: as on its command line.

    Returns:
        The resolved configuration.
    """
    from hydra import compose, initialize_config_dir

    from hep2gan.cli.app import config_folder, resolve_config
    from hep2gan.cli.local import run_settings

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return parse_config(run_settings(resolve_config(compose("train", list(overrides)))))
