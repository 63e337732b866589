"""A split, and the two files it leaves beside a run: split.csv and split.json."""

import csv
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hep2gan.containers import json_object
from hep2gan.errors import Hep2ganError
from hep2gan.whole import write_whole

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


PARTS = ("train", "validation", "test")
"""Names of the parts; part numbers 0, 1, 2 are their places here."""

_FIX = "make the split anew from this store"


@dataclass(frozen=True)
class Split:
    """Which cells train, validate and test.

    train, validation, test: sorted rows of the store; together every row, once. settings: how the
    split was made (kind, seed, fold, …) and `fingerprint`, the store it belongs to.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    settings: dict[str, Any]

    @classmethod
    def of_parts(cls, part: npt.NDArray[np.integer[Any]], settings: dict[str, Any]) -> "Split":
        """Split from the (N,) part numbers of all cells."""
        train, validation, test = (np.flatnonzero(part == p).astype(np.int64) for p in range(3))
        return cls(train, validation, test, settings)

    @property
    def part(self) -> npt.NDArray[np.int8]:
        """(N,) part number of every cell: 0 train, 1 validation, 2 test."""
        rows = (self.train, self.validation, self.test)
        part = np.full(sum(map(len, rows)), -1, np.int8)
        for number, chosen in enumerate(rows):
            part[chosen] = number
        return part

    def counts(self, store: "Store") -> dict[str, dict[str, int]]:
        """Cells of each class in each part, by name."""
        label = np.asarray(store.label)
        return {
            name: dict(
                zip(
                    store.classes,
                    np.bincount(label[rows], minlength=len(store.classes)).tolist(),
                    strict=True,
                )
            )
            for name, rows in zip(PARTS, (self.train, self.validation, self.test), strict=True)
        }

    def save(self, folder: Path, store: "Store") -> None:
        """Write split.csv (id, part) and split.json (settings, counts) into `folder`.

        Each file appears whole or not at all. split.csv comes last, so where it is, both are;
        split.json holds its checksum. Raises Hep2ganError when the split belongs to another store.
        """
        _check_store(self.settings.get("fingerprint"), store, "this split")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "part"))
        names = np.asarray(PARTS)[self.part]
        writer.writerows(zip(store.id.tolist(), names.tolist(), strict=True))
        table = text.getvalue().encode()
        about = {
            "settings": self.settings,
            "counts": self.counts(store),
            "sha256": hashlib.sha256(table).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "split.json", (json.dumps(about, indent=2) + "\n").encode())
        write_whole(folder / "split.csv", table)

    @classmethod
    def load(cls, folder: Path, store: "Store") -> "Split":
        """Read what `save` wrote and hold it against `store`.

        Raises Hep2ganError when a file is missing, damaged or edited, or when the split is of
        another store, saying in what they differ.
        """
        about, table = _read(folder / "split.json"), folder / "split.csv"
        part_of = _rows(table, about["sha256"])
        _check_ids(np.asarray(list(part_of), np.str_), store, table)
        _check_store(about["settings"].get("fingerprint"), store, str(folder / "split.json"))
        part = np.array([part_of[str(name)] for name in store.id.tolist()], np.int8)
        return cls.of_parts(part, about["settings"])


def _rows(table: Path, checksum: str) -> dict[str, int]:
    """Part number by id. The checksum guards against accidents, not against whoever can make it."""
    if not table.is_file():
        raise Hep2ganError(f"{table} does not exist", "", _FIX)
    content = table.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise Hep2ganError(f"{table} has changed since it was written", "", _FIX)
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        part_of = {name: PARTS.index(part) for name, part in rows[1:]}
    except (ValueError, csv.Error) as error:
        raise Hep2ganError(
            f"{table} is damaged ({error})", "its lines are id,part", _FIX
        ) from error
    if len(part_of) < len(rows) - 1:
        raise Hep2ganError(f"{table} is damaged", "it must name each cell once", _FIX)
    return part_of


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", _FIX)
    with suppress(ValueError, KeyError):
        about = json_object(path)
        if isinstance(about["settings"], dict) and isinstance(about["sha256"], str):
            return about
    raise Hep2ganError(f"{path} is damaged", "it must hold settings and a checksum", _FIX)


def _check_ids(ids: npt.NDArray[np.str_], store: "Store", path: Path) -> None:
    """Raise unless the ids are exactly the store's."""
    unknown, missing = np.setdiff1d(ids, store.id), np.setdiff1d(store.id, ids)
    for who, where, names in (
        ("split", "the store", unknown),
        ("store", "the split", missing),
    ):
        if len(names):
            raise Hep2ganError(
                f"{path}: {len(names):,} cells of the {who} are not in {where}"
                f" (the first is {names[0]})",
                f"the split has {len(ids):,} cells and the store {store.path} has {len(store):,}",
                f"point to the store this split was made from, or {_FIX}",
            )


def _check_store(fingerprint: object, store: "Store", what: str) -> None:
    if fingerprint != store.fingerprint:
        raise Hep2ganError(
            f"{what} was made for the store with fingerprint {str(fingerprint)[:12]}, but"
            f" {store.path} has {store.fingerprint[:12]}",
            "pixels, labels or stored size differ",
            f"point to the store this split was made from, or {_FIX}",
        )
