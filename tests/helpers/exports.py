"""Folders as hep2gan-export writes them."""

import json

import torch
from safetensors.torch import save

from hep2gan.inference.exported import CARD, DESCRIPTION, KIND, VERSION
from hep2gan.io import file_digest


def small_export(folder, weights="model.safetensors"):
    """An export that opens, but describes no networks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / weights).write_bytes(save({"a": torch.arange(1000.0)}))
    (folder / CARD).write_text("---\nlibrary_name: hep2gan\n---\n# A card\n")
    description = {
        "format": KIND, "version": VERSION, "weights": weights, "size": 32, "classes": ["a", "b"],
        "crops": None, "white_level": None, "channel": None, "plane": None,
        "trust": None, "views": 1,
        "configuration": {"name": "x"}, "test_metrics": {"test/accuracy": 0.5},
    }  # fmt: skip
    (folder / DESCRIPTION).write_text(json.dumps(description))
    change_description(folder)
    return folder


def change_description(folder, **changes):
    """Change keys of model.json, and seal it for the weights that lie beside it."""
    found = json.loads((folder / DESCRIPTION).read_text()) | changes
    found["sha256"] = file_digest(folder / found["weights"])
    (folder / DESCRIPTION).write_text(json.dumps(found))
    return found
