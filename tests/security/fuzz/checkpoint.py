"""Checkpoints as bytes, and as archives whose parts were changed and packed again."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from hep2gan.runs.checkpoints import read_checkpoint
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import VALUES, mutated

WEIGHTS = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "a.bias": torch.tensor([0.5, -1]),
    "n": torch.tensor(3),
}
CONTENT = {"state_dict": WEIGHTS, "epoch": 3, "loops": {"x": [1, None, True]}}


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


SEED = _saved(CONTENT)
OLD = io.BytesIO()
torch.save(CONTENT, OLD, _use_new_zipfile_serialization=False)


@st.composite
def _repacked(draw: Any) -> bytes:
    """The archive with one member changed and every checksum right."""
    members = {}
    with zipfile.ZipFile(io.BytesIO(SEED)) as archive:
        for name in archive.namelist():
            members[name] = archive.read(name)
    name = draw(st.sampled_from(sorted(members)))
    members[name] = draw(mutated([members[name]]))
    file = io.BytesIO()
    kind = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


@st.composite
def _other_content(draw: Any) -> bytes:
    """A rightly saved file of something else."""
    value = draw(st.sampled_from((*VALUES, *WEIGHTS.values(), WEIGHTS)))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return _saved(value)
    if kind == 1:
        return _saved({"state_dict": value})
    key = draw(st.sampled_from(("a.weight", 5, None, "", "x" * 1000)))
    return _saved({"state_dict": WEIGHTS | {key: value}})


def _read(data: bytes, folder: Path) -> dict[str, Any]:
    (folder / "epoch0001.ckpt").write_bytes(data)
    return read_checkpoint(folder / "epoch0001.ckpt")


def _holds_weights(found: dict[str, Any], data: bytes) -> None:
    assert isinstance(found["state_dict"], dict)
    for name, tensor in found["state_dict"].items():
        assert isinstance(name, str)
        assert isinstance(tensor, torch.Tensor)
        assert tensor.device.type == "cpu"
        pickle.dumps(tensor.shape)
        if tensor.numel() < 1e6:
            tensor.clone()


def _is_the_seed(found: dict[str, Any], data: bytes) -> None:
    _holds_weights(found, data)
    assert all(torch.equal(found["state_dict"][name], WEIGHTS[name]) for name in WEIGHTS)
    assert found["epoch"] == 3


DOORS = (
    Door("checkpoint", mutated([SEED, OLD.getvalue()]), _read, _is_the_seed),
    Door(
        "checkpoint_repacked",
        st.one_of(_repacked(), _other_content()),
        _read,
        _holds_weights,
    ),
)
