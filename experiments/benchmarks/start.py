"""Start of the commands: what answers while typing, and from the command to the first step.

All sides are whole processes. `python -m experiments.benchmarks.start first-step OVERRIDE …` is
hep2gan-train, ended where its first training step begins; `… networks JSON` imports torch and
Lightning, builds networks and does nothing else.
"""

import importlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from experiments.benchmarks.compare import (
    COMPACT,
    CPU,
    PAPER,
    SYNTHETIC,
    Row,
    compare,
    compose_config,
    run_python,
    seconds,
)
from hep2gan.config import TrainConfig

TYPED = "hep2gan-train method="


def compare_commands(quick: bool = False) -> list[Row]:
    """Time help, the composed configuration and tab completion against `import hydra`.

    Args:
        quick: one pair of each.

    Returns:
        The rows of the table.
    """
    theirs = seconds(partial(run_python, "-c", "import hydra"))
    # How bash passes the words before the cursor to a completion.
    typed = {"COMP_LINE": TYPED, "COMP_POINT": str(len(TYPED))}

    def row(what: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Row:
        command = ("-c", "from hep2gan.cli.train import main; main()", *arguments)
        ours = seconds(partial(run_python, *command, environment=environment))
        ratio = compare(ours, theirs, pairs=1 if quick else 15)
        return Row(what, '`python -c "import hydra"`', ratio, at_most=2.5)

    return [
        row("`hep2gan-train --help`", "--help"),
        row("`hep2gan-train --cfg job`", "--cfg", "job"),
        row("tab completion", "-sc", "query=bash", environment=typed),
    ]


def compare_first_step(quick: bool = False) -> list[Row]:
    """Time the way to the first step against importing torch and Lightning and building networks.

    The store is packed and was verified before, as at every start but the first.

    Args:
        quick: one pair of compact networks.

    Returns:
        The rows of the table.
    """
    sizes = [("compact networks, 64 px", COMPACT, 6), ("the paper's networks, 128 px", PAPER, 4)]
    if quick:
        sizes = [("compact networks, 64 px", (*COMPACT, "data.count=300"), 1)]
    rows = []
    for words, size, pairs in sizes:
        overrides = (*SYNTHETIC, *CPU, *size)
        networks = json.dumps(describe_networks(compose_config(*overrides)))
        with tempfile.TemporaryDirectory() as folder:
            module = ("-m", "experiments.benchmarks.start")
            run = (*module, "first-step", *overrides, f"run_dir={folder}/run")
            # The warm-up generates and packs the cells where that was not done yet.
            ratio = compare(
                seconds(partial(run_python, *run)),
                seconds(partial(run_python, *module, "networks", networks)),
                pairs=pairs,
            )
        rows.append(
            Row(
                f"command to first step, {words}",
                "importing torch and Lightning, building them",
                ratio,
                at_most=1.25,
            )
        )
    return rows


def describe_networks(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Find class (`_target_`) and arguments of each network of a run.

    Args:
        config: the configuration of the run.

    Returns:
        By name of the network, what `build_networks` takes.
    """
    given = {
        "generator": {"image_size": config.source.size},
        "discriminator": {},
        "classifier": {"num_classes": 6, "guided": True},
    }
    found = {}
    for name, more in given.items():
        network = config.network(name)
        accepted = inspect.signature(network.load()).parameters
        passed = {key: more[key] for key in more.keys() & accepted.keys()}
        found[name] = {"_target_": network.target} | network.arguments | passed
    return found


def build_networks(networks: Mapping[str, dict[str, Any]]) -> None:
    """Do what any program does that trains these networks with Lightning.

    Args:
        networks: class (`_target_`) and arguments of each.
    """
    import lightning  # noqa: F401
    import torch  # noqa: F401

    for settings in networks.values():
        module, _, name = settings.pop("_target_").rpartition(".")
        getattr(importlib.import_module(module), name)(**settings)


def train_until_first_step() -> NoReturn:
    """Run hep2gan-train with the arguments of this process, up to its first step."""
    from hep2gan.cli.train import main
    from hep2gan.training.module import SegmentationGuidedClassification

    def end(*_: object) -> NoReturn:
        os._exit(0)

    SegmentationGuidedClassification.training_step = end  # type: ignore[method-assign,assignment]
    main()
    sys.exit("the training ended without a step")


if __name__ == "__main__":
    if sys.argv.pop(1) == "first-step":
        train_until_first_step()
    build_networks(json.loads(sys.argv[1]))
    # As the other side does: taking an interpreter down is no part of starting.
    os._exit(0)
