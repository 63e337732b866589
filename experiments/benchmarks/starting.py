"""From the command to the first step, against importing torch and Lightning and building networks.

Both are whole processes that end at that point. The store is packed, and was read once before, as
it is at every start but the first.
"""

import inspect
import json
import tempfile
from collections.abc import Sequence
from typing import Any

from hydra.utils import get_class

from experiments.benchmarks.configured import composed
from experiments.benchmarks.processes import process_ratio, process_seconds, python
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import COMPACT, FULL_SIZE, STORES

PATTERNS = 6


def measure() -> list[Row]:
    """Compact networks, and the paper's."""
    return [
        _row("compact networks, 64 px", COMPACT, pairs=6),
        _row("the paper's networks, 128 px", FULL_SIZE, pairs=4),
    ]


def _row(words: str, overrides: Sequence[str], *, pairs: int) -> Row:
    given = ("data=phantom", "trainer=cpu", f"stores={STORES}", *overrides)
    built = json.dumps(networks(composed(given)))
    module = "experiments.benchmarks.first_step"
    with tempfile.TemporaryDirectory() as folder:
        ours = python("-m", module, *given, f"run_dir={folder}/run")
        # Draws and packs the cells where that was not done yet.
        process_seconds(ours)
        ratio = process_ratio(ours, python("-m", module, "--networks", built), pairs=pairs)
    against = "importing torch and Lightning, building them"
    return Row(f"command to first step, {words}", against, "at most", 1.25, ratio)


def networks(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Classes and arguments of the networks, as a run has them."""
    given = {
        "generator": {"image_size": config["data"]["size"]},
        "discriminator": {},
        "classifier": {"num_classes": PATTERNS, "guided": True},
    }
    return {
        name: config[name]
        | {key: value for key, value in more.items() if key in _parameters(config[name])}
        for name, more in given.items()
    }


def _parameters(settings: dict[str, Any]) -> set[str]:
    return set(inspect.signature(get_class(settings["_target_"])).parameters)
