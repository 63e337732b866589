"""Mutated inputs at every door: read rightly, or refused with the file and the fix."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.fuzz.doors import COUNTS

ROOT = Path(__file__).parents[3]
DUE = 10_000
"""Different inputs over all doors in the long run."""


def campaign(door: str, count: int) -> dict[str, int]:
    """The counts of a campaign in a process of its own, whose death is a finding."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.security.fuzz", door, str(count)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=1800,
        check=False,
    )
    assert ended.returncode == 0, f"{door} ended with {ended.returncode}: {ended.stderr[-4000:]}"
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.integration
@pytest.mark.parametrize("door", COUNTS)
def test_a_few_mutated_inputs(door):
    counts = campaign(door, COUNTS[door].few)
    assert counts["inputs"] >= 0.6 * COUNTS[door].few


@pytest.mark.slow
def test_ten_thousand_mutated_inputs(capsys):
    total, failed = 0, []
    for door, due in COUNTS.items():
        try:
            counts = campaign(door, due.many)
        except AssertionError as error:
            failed.append(str(error))
            continue
        total += counts["inputs"]
        with capsys.disabled():
            told = ", ".join(f"{key} {counts.get(key, 0)}" for key in ("right", "refused"))
            print(f"\n{door}: {counts['inputs']} inputs, {told}, {counts['seconds']} s", end="")
    with capsys.disabled():
        print(f"\nall doors: {total} inputs")
    assert not failed, "\n\n".join(failed)
    assert total >= DUE
