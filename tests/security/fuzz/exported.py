"""Exports as somebody else may have written them: description and weights, sealed again or not."""

import gc
import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from hep2gan.inference.configuration import shared_configuration
from hep2gan.inference.exported import DESCRIPTION, KIND, VERSION, Export, open_export
from hep2gan.inference.load import load_export
from hep2gan.inference.weights import read_weights
from hep2gan.io import file_digest
from hep2gan.training.build import build_task
from tests.helpers.configs import parsed
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated, mutated_json

CONFIG = parsed("data=phantom", "scale=laptop")
SHARED = shared_configuration(CONFIG)
CLASSES = ["a", "b"]
DESCRIBED = {
    "format": KIND, "version": VERSION, "weights": "model.safetensors", "size": 64,
    "classes": CLASSES, "white_level": 4095, "channel": "DNA", "plane": None,
    "crops": {"largest": 90, "smallest": 50, "median": 70, "margin": 5, "nucleus": 55.0},
    "configuration": SHARED, "test_metrics": {"test/dice": 0.9},
}  # fmt: skip
SMALL = {"a.weight": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(3)}
WEIGHTS = {
    name: tensor
    for name, tensor in build_task(CONFIG, classes=CLASSES, size=64).state_dict().items()
    if not name.startswith("discriminator.")
}
Given = tuple[bytes, bytes, bool]


@st.composite
def _files(draw: Any) -> Given:
    """model.json and model.safetensors, one of them changed; whether the checksum is made right."""
    text, weights = json.dumps(DESCRIBED).encode(), save(SMALL)
    which = draw(st.integers(0, 2))
    if which == 0:
        return text, draw(mutated([weights])), True
    if which == 1:
        changed = draw(mutated_json(DESCRIBED))
        return json.dumps(changed).encode("utf-8", "surrogatepass"), weights, True
    return draw(mutated([text])), draw(mutated([weights])), False


@st.composite
def _configurations(draw: Any) -> Given:
    part = draw(st.sampled_from(sorted(SHARED)))
    changed = SHARED | {part: draw(mutated_json(SHARED[part]))}
    text = json.dumps(DESCRIBED | {"configuration": changed})
    return text.encode("utf-8", "surrogatepass"), save(WEIGHTS), True


def _open(given: Given, folder: Path) -> Export:
    text, weights, seal = given
    (folder / "model.safetensors").write_bytes(weights)
    (folder / DESCRIPTION).write_bytes(text)
    if seal and isinstance(found := json.loads(text), dict):
        found["sha256"] = file_digest(folder / "model.safetensors")
        sealed = json.dumps(found).encode("utf-8", "surrogatepass")
        (folder / DESCRIPTION).write_bytes(sealed)
    return open_export(folder)


def _read(given: Given, folder: Path) -> tuple[Export, dict[str, torch.Tensor]]:
    export = _open(given, folder)
    return export, read_weights(export.weights, export.fix)


def _build(given: Given, folder: Path) -> dict[str, torch.Tensor]:
    # Networks hold one another in circles, and a campaign's memory is limited as a whole.
    gc.collect()
    return load_export(_open(given, folder))[0].state_dict()


def _is_sound(found: tuple[Export, dict[str, torch.Tensor]], given: Given) -> None:
    export, weights = found
    assert 0 < export.size <= 4096
    assert all(type(name) is str for name in export.classes)
    assert export.weights.parent == export.folder
    assert all(type(value) in (int, float) for value in export.metrics.values())
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def _has_the_weights(found: dict[str, torch.Tensor], given: Given) -> None:
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


DOORS = (
    Door("export", _files(), _read, _is_sound),
    Door("export_networks", _configurations(), _build, _has_the_weights),
)
