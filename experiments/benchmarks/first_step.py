"""Two processes to be timed: `python -m experiments.benchmarks.first_step OVERRIDE …` is
hep2gan-train, ended where its first training step begins; `… --networks JSON` imports torch and
Lightning, builds networks, and does nothing else.

JSON: of each network its class (`_target_`) and the arguments of its constructor.
"""

import json
import os
import sys
from typing import Any, NoReturn


def train_until_first_step() -> None:
    """hep2gan-train with the words of this command line."""
    from hep2gan.cli.train import main
    from hep2gan.training.module import SegmentationGuidedClassification

    def end(*_: object) -> NoReturn:
        os._exit(0)

    SegmentationGuidedClassification.training_step = end  # type: ignore[method-assign,assignment]
    main()
    sys.exit("the training ended without a step")


def build(networks: dict[str, dict[str, Any]]) -> None:
    """What any program does that trains these networks with Lightning."""
    import importlib

    import lightning  # noqa: F401
    import torch  # noqa: F401

    for settings in networks.values():
        module, _, name = settings.pop("_target_").rpartition(".")
        getattr(importlib.import_module(module), name)(**settings)


if __name__ == "__main__":
    if sys.argv[1] == "--networks":
        build(json.loads(sys.argv[2]))
        # As the other does: taking an interpreter down is no part of starting.
        os._exit(0)
    else:
        train_until_first_step()
