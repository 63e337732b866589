"""Try mutated inputs on one door with limited memory: python -m tests.security.fuzz DOOR N.

A third argument is a seed; without it the inputs are the same each time. Prints the counts as JSON.
"""

import hashlib
import json
import pickle
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.security.fuzz.doors import door_named
from tests.security.fuzz.judge import Door, judge, limit_memory


def campaign(door: Door, count: int, start: int | None) -> Counter[str]:
    """Judge `count` inputs and count what came of them; raises at the first that fails."""
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    place = Path(tempfile.mkdtemp(prefix="hep2gan-fuzz-"))

    def one(value: Any) -> None:
        folder = place / "in"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        # Left behind where the process dies of it.
        (place / "input.pickle").write_bytes(written := pickle.dumps(value))
        outcome = judge(door, value, folder)
        if (digest := hashlib.sha256(written).digest()) not in seen:
            seen.add(digest)
            counts[outcome] += 1

    chosen = settings(
        max_examples=count,
        derandomize=start is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    tried = chosen(given(door.inputs)(one))
    (tried if start is None else seed(start)(tried))()
    shutil.rmtree(place)
    return counts


def main() -> None:
    """Run the campaign that the command line names."""
    warnings.simplefilter("ignore")
    door = door_named(sys.argv[1])
    limit_memory()
    begun = time.perf_counter()
    try:
        counts = campaign(door, int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    except BaseException as error:
        # Inputs can be long; the whole of it lies in input.pickle.
        told = "".join(traceback.format_exception(error)).splitlines()
        sys.exit("\n".join(line[:300] for line in told[-60:]))
    seconds = round(time.perf_counter() - begun, 1)
    print(json.dumps({"door": door.name, **counts, "inputs": counts.total(), "seconds": seconds}))


if __name__ == "__main__":
    main()
