"""predictions.npz as bytes, and with one of its arrays exchanged."""

import io
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hep2gan.runs.predictions import Predictions
from tests.runs.test_predictions import drawn, same
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import NUMBERS, mutated


def _saved() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        drawn().save(Path(place) / "p.npz")
        return (Path(place) / "p.npz").read_bytes()


SEED = _saved()
with np.load(io.BytesIO(SEED)) as _file:
    ARRAYS = {name: _file[name] for name in _file.files}
TYPES = ("<u1", "<i8", "<f4", "<f8", "<c8", "<U3", "S2", "?", ">i8", "<M8[s]", "V4", "<i1")
SHAPES = ((), (0,), (4,), (2,), (4, 2), (4, 6, 6), (6, 6), (4, 0), (1, 1, 1, 1), (4, 6, 7))


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    about = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


@st.composite
def _exchanged(draw: Any) -> bytes:
    """A rightly packed archive in which arrays are of another type, shape, value or length."""
    members = {}
    for name, array in ARRAYS.items():
        file = io.BytesIO()
        np.save(file, array)
        members[f"{name}.npy"] = file.getvalue()
    name = draw(st.sampled_from(sorted(members)))
    kind, shape = draw(st.sampled_from(TYPES)), draw(st.sampled_from(SHAPES))
    what = draw(st.integers(0, 4))
    if what == 0:
        file = io.BytesIO()
        np.save(file, np.full(shape, draw(st.sampled_from((0, 1, 200)))).astype(kind))
        members[name] = file.getvalue()
    elif what == 1:
        large = tuple(draw(st.sampled_from(NUMBERS)) for _ in shape)
        members[name] = _header(kind, large) + bytes(64)
    elif what == 2:
        members[name] = draw(mutated([members[name]]))
    elif what == 3:
        array = ARRAYS[name.removesuffix(".npy")].copy().reshape(-1)
        raw = array.view(np.uint8)
        raw[draw(st.integers(0, len(raw) - 1))] ^= 1 << draw(st.integers(0, 7))
        file = io.BytesIO()
        np.save(file, array.reshape(ARRAYS[name.removesuffix(".npy")].shape))
        members[name] = file.getvalue()
    else:
        del members[name]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _load(data: bytes, folder: Path) -> Predictions:
    (folder / "predictions.npz").write_bytes(data)
    return Predictions.load(folder / "predictions.npz")


def _are_consistent(found: Predictions, _: bytes) -> None:
    found.check()
    assert all(type(name) is str for name in found.classes)
    for f in fields(found):
        array = getattr(found, f.name)
        assert array is None or f.name == "classes" or not array.dtype.hasobject


def _are_the_seed(found: Predictions, _: bytes) -> None:
    assert same(found, drawn()), "silently other predictions"


DOORS = (
    Door("predictions", mutated([SEED]), _load, _are_the_seed),
    Door("predictions_repacked", _exchanged(), _load, _are_consistent),
)
