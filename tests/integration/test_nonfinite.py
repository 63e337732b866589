"""Ranks decide alike when one of them meets a loss that is not finite."""

import json
import math
from pathlib import Path

import pytest

from tests.helpers.started import ranks

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parent / "nonfinite_program.py"


def test_all_ranks_stop_and_the_cells_of_all_are_named(tmp_path):
    found = ranks(2, PROGRAM, tmp_path, "stop", "yes")
    assert all("batch 2 of epoch 0" in one["error"] for one in found)
    record = json.loads((tmp_path / "nonfinite.json").read_text())
    assert record["ids"] == [f"cell{100 * rank + 20 + k}" for rank in (0, 1) for k in range(6)]
    assert record["before"] == [f"cell{100 * rank + 10 + k}" for rank in (0, 1) for k in range(6)]
    totals = [float(terms["discriminator/total"]) for terms in record["terms"]]
    # The first rank's own loss is fine until it gets the second's gradients.
    assert math.isfinite(totals[0])
    assert math.isnan(totals[1])


def test_all_ranks_skip_the_same_updates(tmp_path):
    first, second = ranks(2, PROGRAM, tmp_path, "skip", "yes")
    assert first["error"] is None
    assert first["weights"] == second["weights"]
    assert all(map(math.isfinite, first["weights"]))
    without, _ = ranks(2, PROGRAM, tmp_path, "skip", "left out")
    assert first["weights"] == without["weights"]
