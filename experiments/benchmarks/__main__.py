"""`python -m experiments.benchmarks [NAME …]`: run all benchmarks or those named, print the table.

Each runs in a process of its own, one after the other.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from experiments.benchmarks.compare import HEAD, describe_machine, run_benchmark

BENCHMARKS = {
    "step": "step.compare_steps",
    "evaluation": "predict.compare_evaluation",
    "commands": "start.compare_commands",
    "start": "start.compare_first_step",
    "predict": "predict.compare_prediction",
    "fields": "fields.compare_fields",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks and print their rows as they come.

    Args:
        arguments: the command line; None for that of this process.

    Returns:
        The exit status: 1 where a row does not meet its target or a benchmark failed.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=BENCHMARKS, help=", ".join(BENCHMARKS)
    )
    parser.add_argument("--quick", action="store_true", help="only show that the benchmarks work")
    options = parser.parse_args(arguments)
    print(f"{describe_machine()}\n\n{HEAD}", flush=True)
    failed, met = False, True
    for name in options.names or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows = pool.submit(run_benchmark, BENCHMARKS[name], options.quick).result()
        except Exception:
            traceback.print_exc()
            failed = True
            continue
        print(*(row.line for row in rows), sep="\n", flush=True)
        met = met and all(row.met for row in rows)
    return int(failed or not (met or options.quick))


if __name__ == "__main__":
    sys.exit(main())
