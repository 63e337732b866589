"""`python -m experiments.benchmarks [NAME …]`: measure, then print one table.

NAME is a module of this folder that has `measure() -> list[Row]`; without any, all of BENCHMARKS.
Each is a process of its own, one after the other, and leaves its rows in runs/benchmarks/NAME.json.
"""

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks.rows import load, save, table

BENCHMARKS: tuple[str, ...] = ("training_step", "prediction")
FOLDER = Path("runs/benchmarks")


def machine() -> str:
    """What the figures ran on, in a line."""
    import torch

    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores of {model}{device}; Python {platform.python_version()},"
        f" torch {torch.__version__}"
    )


def measure_one(name: str) -> None:
    """Run one benchmark in this process and keep its rows."""
    save(importlib.import_module(f"experiments.benchmarks.{name}").measure(), path_of(name))


def path_of(name: str) -> Path:
    """Where a benchmark's rows lie."""
    return FOLDER / f"{name}.json"


def main(arguments: list[str]) -> int:
    """The exit status: 1 where a row is not met or a benchmark failed."""
    if arguments[:1] == ["--one"]:
        measure_one(arguments[1])
        return 0
    names = arguments or list(BENCHMARKS)
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    rows, failed = [], []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "experiments.benchmarks", "--one", name]
        if subprocess.run(command).returncode:
            failed.append(name)
        else:
            rows += load(path_of(name))
    print(f"\n{machine()}\n\n{table(rows)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed or not all(row.met for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
