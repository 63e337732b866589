"""A run folder as the commands open it: the configuration, store.json and weights of a run."""

import gc
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from hypothesis import strategies as st

from hep2gan.inference.load import LoadedRun, load_run
from hep2gan.runs.checkpoints import TrainingPosition
from hep2gan.training.build import build_task
from tests.helpers.configs import parsed
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated, mutated_json

CLASSES = ("a", "b")
PARSED = parsed("data=phantom", "scale=laptop")
CONFIG = PARSED.to_plain()
STORE = {"path": "x", "fingerprint": "f" * 64, "size": 64, "cells": 9} | {
    "classes": list(CLASSES),
    "target": "pattern",
}
WEIGHTS = build_task(PARSED, classes=CLASSES, size=64).state_dict()
BUILT = ("generator", "discriminator", "classifier", "loss", "model", "optimizer", "task")
"""Parts of a configuration that networks are built from."""


@st.composite
def _inputs(draw: Any) -> tuple[bytes, bytes]:
    """config.yaml and store.json, one of them changed."""
    text, store = yaml.safe_dump(CONFIG).encode(), json.dumps(STORE).encode()
    which = draw(st.integers(0, 5))
    if which == 0:
        return text, draw(mutated([store]))
    if which == 1:
        return text, json.dumps(draw(mutated_json(STORE))).encode("utf-8", "surrogatepass")
    if which == 2:
        return draw(mutated([text])), store
    part = draw(st.sampled_from(BUILT))
    return yaml.safe_dump(CONFIG | {part: draw(mutated_json(CONFIG[part]))}).encode(), store


def _open(given: tuple[bytes, bytes], folder: Path) -> LoadedRun:
    # Networks hold one another in circles, and a campaign's memory is limited as a whole.
    gc.collect()
    (folder / "config.yaml").write_bytes(given[0])
    (folder / "store.json").write_bytes(given[1])
    path = TrainingPosition(1, 0).path(folder / "checkpoints")
    path.parent.mkdir()
    torch.save({"state_dict": WEIGHTS}, path)
    return load_run(folder)


def _has_the_weights(found: LoadedRun, _: object) -> None:
    assert all(type(name) is str for name in found.classes)
    assert 0 < found.size <= 4096
    state = found.task.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in WEIGHTS.items())


DOORS = (Door("trained", _inputs(), _open, _has_the_weights),)
