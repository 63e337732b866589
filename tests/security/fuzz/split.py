"""split.csv and split.json, also with a checksum that a cunning hand made right again."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hep2gan.data.splits import Split
from tests.helpers.made_store import made_store
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated, mutated_json

STORE = made_store([0, 1] * 4, ids=["1", "2", "ü", "a/3", "5,5", "6", '7"', "8"])
SPLIT = Split.from_parts(
    np.array([0, 0, 0, 1, 1, 2, 2, 2]), {"kind": "random", "fingerprint": STORE.fingerprint}
)


def _files() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as place:
        SPLIT.save(Path(place), STORE)
        return tuple((Path(place) / f"split.{end}").read_bytes() for end in ("csv", "json"))


CSV, JSON = _files()


@st.composite
def _inputs(draw: Any) -> tuple[bytes, bytes, bool]:
    """split.csv, split.json, and whether its checksum was made right."""
    which = draw(st.integers(0, 3))
    if which == 0:
        return draw(mutated([CSV])), JSON, False
    if which == 1:
        return CSV, draw(mutated([JSON])), False
    if which == 2:
        tree = json.dumps(draw(mutated_json(json.loads(JSON))))
        return CSV, tree.encode("utf-8", "surrogatepass"), False
    table = draw(mutated([CSV]))
    about = json.loads(JSON) | {"sha256": hashlib.sha256(table).hexdigest()}
    return table, json.dumps(about).encode(), True


def _load(given: tuple[bytes, bytes, bool], folder: Path) -> Split:
    (folder / "split.csv").write_bytes(given[0])
    (folder / "split.json").write_bytes(given[1])
    return Split.load(folder, STORE)


def _is_whole(split: Split, given: tuple[bytes, bytes, bool]) -> None:
    rows = np.concatenate([split.train, split.validation, split.test])
    assert sorted(rows.tolist()) == list(range(len(STORE)))
    assert split.settings["fingerprint"] == STORE.fingerprint
    if not given[2]:
        for part in ("train", "validation", "test"):
            assert np.array_equal(getattr(split, part), getattr(SPLIT, part))


DOORS = (Door("split", _inputs(), _load, _is_whole),)
