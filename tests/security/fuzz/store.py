"""The files of a packed store and its manifest."""

import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hep2gan.data.store.integrity import COLUMNS, MANIFEST, compute_fingerprint, verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from tests.helpers.raw_sets import cells
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated_file, mutated_json


def _packed() -> dict[str, bytes]:
    place = Path(tempfile.mkdtemp())
    store = pack_cells(cells(place / "raw", 6), place / "store", size=32, workers=1)
    files = {path.name: path.read_bytes() for path in store.path.iterdir()}
    shutil.rmtree(place)
    return files


FILES = _packed()
TREE = json.loads(FILES[MANIFEST])
NAMES = (*FILES, *(f"{name}.npy" for name in ("label", "id", "specimens", "crop_size")))


@st.composite
def _inputs(draw: Any) -> tuple[str, bytes, bool]:
    """A file, its content, and whether the fingerprint is made right again by a cunning hand."""
    if draw(st.integers(0, 3)) == 0:
        tree = json.dumps(draw(mutated_json(TREE)))
        return MANIFEST, tree.encode("utf-8", "surrogatepass"), False
    return *draw(mutated_file(FILES)), draw(st.booleans())


def _open(given: tuple[str, bytes, bool], folder: Path) -> Store:
    name, data, resealed = given
    for file, whole in FILES.items():
        (folder / file).write_bytes(data if file == name else whole)
    if resealed and name != MANIFEST:
        _reseal(folder)
    store = Store.open(folder)
    verify(store)
    return store


def _reseal(folder: Path) -> None:
    try:
        found = compute_fingerprint(folder, TREE["classes"], list(COLUMNS))
    except Exception:
        return
    (folder / MANIFEST).write_text(json.dumps(TREE | {"fingerprint": found}))


def _is_whole(store: Store, given: tuple[str, bytes, bool]) -> None:
    name, _, resealed = given
    assert len(store) == 6
    assert store.classes == ("a", "b")
    assert store.size == 32
    assert set(store.label.tolist()) <= {0, 1}
    assert store.mask.max() <= 1
    assert len(set(store.id.tolist())) == 6
    assert (store.crop_size > 0).all()
    assert ((store.specimen >= -1) & (store.specimen < len(store.specimen_names))).all()
    assert np.isfinite(store.levels).all()
    assert set(store.part.tolist()) <= {-1, 0, 1, 2}
    if name != MANIFEST:
        assert store.specimen_names.tolist() == ["s0", "s1", "s2"]
    if not resealed and name not in (MANIFEST, "specimens.npy"):
        for column in COLUMNS:
            seed = np.load(io.BytesIO(FILES[f"{column}.npy"]))
            assert seed.tobytes() == getattr(store, column).tobytes()


DOORS = (Door("store", _inputs(), _open, _is_whole),)
