"""Peak memory of a process that trains: `python -m experiments.benchmarks.step_memory SIZE KIND N`.

Ours and the plain loop's are started alike, import the same, build the same run and its networks
once, and make N steps; what differs is who makes them.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.benchmarks.pairs import Ratio
from experiments.benchmarks.plain_loop import PlainLoop
from experiments.benchmarks.small_run import small_run
from experiments.benchmarks.training_step import FEW_CELLS, SIZES, looped, plain_loop


def peak_memory(size: str, *, steps: int, pairs: int) -> Ratio:
    """MiB of ours over MiB of the plain loop, each the most that its process ever held."""
    readings = [[_measured(size, kind, steps) for kind in ("ours", "plain")] for _ in range(pairs)]
    ours, theirs = zip(*readings, strict=True)
    return Ratio.of(ours, theirs)


def _measured(size: str, kind: str, steps: int) -> float:
    command = [sys.executable, "-m", __name__, size, kind, str(steps)]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(shown.splitlines()[-1])


def trained(size: str, kind: str, steps: int) -> float:
    """Train in this process; the MiB it held at most."""
    with tempfile.TemporaryDirectory() as folder:
        given = (FEW_CELLS, "trainer.max_epochs=1")
        run = small_run(Path(folder), *SIZES[size], *given, batches=steps)
        if kind == "ours":
            run.train()
        else:
            looped(plain_loop(PlainLoop, run.task), run, steps)()
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(trained(sys.argv[1], sys.argv[2], int(sys.argv[3])))
