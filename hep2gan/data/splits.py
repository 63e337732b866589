"""Make splits: random, block, specimen or given; one test fraction or k folds of each."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hep2gan.data.grouping import (
    GroupIds,
    assign_groups,
    block_groups,
    duplicate_groups,
    fold_quota,
    fraction_quota,
    group_ids,
    merge_groups,
)
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write, read_json

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
        atomic_write(folder / "split.json", (json.dumps(about, indent=2) + "\n").encode())
        atomic_write(folder / "split.csv", table)

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
        about = read_json(path)
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


SplitKind = Literal["random", "block", "specimen", "given"]
UNITS = {"random": "cell", "block": "block", "specimen": "specimen", "given": "cell"}


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """What a split depends on besides the store.

    kind: `random` deals cells; `block` deals contiguous id blocks of a class, the honest stand-in
    where specimens are unknown; `specimen` deals specimens; `given` takes the split column of the
    manifest. All but `given` keep the class proportions in every part.
    test_fraction: share of all cells to test on; ignored with folds. folds, fold: the test parts
    of folds 0..folds-1 partition the set. validation_fraction: share of the *training part* cut
    off by the same rule (at random under `given`); 0 for none. The test part does not depend on
    it while classes have enough groups. group_duplicates: byte-identical cells stay in one part.
    blocks_per_class: ten make a 9:1 test part one long block a class. Every boundary cuts a
    specimen, so more blocks leak more.
    """

    kind: SplitKind = "random"
    seed: int = 0
    test_fraction: float = 0.1
    folds: int | None = None
    fold: int = 0
    validation_fraction: float = 0.0
    group_duplicates: bool = False
    blocks_per_class: int = 10

    def __post_init__(self) -> None:
        if self.kind not in UNITS:
            raise Hep2ganError(
                f"Split kind {self.kind!r} is unknown", "", f"use {format_options(UNITS)}"
            )
        if not 0 < self.test_fraction < 1:
            _refuse("Test fraction", self.test_fraction, "above 0 and below 1", "e.g. 0.1")
        if not 0 <= self.validation_fraction < 1:
            _refuse(
                "Validation fraction", self.validation_fraction, "0 or more, below 1", "e.g. 0.1"
            )
        if self.seed < 0:
            _refuse("Split seed", self.seed, "0 or more", "e.g. 0")
        if self.folds is not None and self.folds < 2:
            _refuse("Number of folds", self.folds, "2 or more", "e.g. 5, or none")
        if not 0 <= self.fold < (self.folds or 1):
            _refuse("Fold", self.fold, f"0..{(self.folds or 1) - 1}", "it below folds")
        if self.blocks_per_class < 1:
            _refuse("Number of blocks per class", self.blocks_per_class, "1 or more", "e.g. 10")
        if self.kind == "given" and self.folds is not None:
            raise Hep2ganError("A given split has no folds", "", "drop folds, or use another kind")

    @property
    def needed(self) -> int:
        """Groups a class must have, so that every part can get one of its own."""
        return 3 if self.validation_fraction else 2


def format_options(names: Iterable[str]) -> str:
    """Names joined for a sentence: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _refuse(what: str, value: object, rule: str, fix: str) -> None:
    raise Hep2ganError(f"{what} is {value}", f"it must be {rule}", f"set {fix}")


__all__ = ["PARTS", "Split", "SplitSettings", "check_kind", "describe", "make_split"]


def make_split(
    store: "Store",
    *,
    kind: SplitKind = "random",
    seed: int = 0,
    test_fraction: float = 0.1,
    folds: int | None = None,
    fold: int = 0,
    validation_fraction: float = 0.0,
    group_duplicates: bool = False,
    blocks_per_class: int = 10,
) -> Split:
    """Split the cells of a store; the same settings and store give the same split.

    `SplitSettings` explains the keywords. On the full ICPR 2016 set the default gives 12,236
    cells to train and 1,360 to test on.

    Raises Hep2ganError where a class has too few groups for the parts, where specimens or given
    parts are missing, and where a part would be empty.
    """
    settings = SplitSettings(
        kind=kind,
        seed=seed,
        test_fraction=test_fraction,
        folds=folds,
        fold=fold,
        validation_fraction=validation_fraction,
        group_duplicates=group_duplicates,
        blocks_per_class=blocks_per_class,
    )
    label = np.asarray(store.label)
    group = _groups(store, settings)
    if settings.kind == "given":
        part = _given(store, group)
    else:
        _require_groups(store, settings, group, label, np.arange(len(label)), settings.needed)
        part = _test_part(settings, group, label, len(store.classes))
    if settings.validation_fraction:
        if (part == 1).any():
            raise Hep2ganError(
                "The manifest already gives a validation part", "", "set validation_fraction=0"
            )
        rows = np.flatnonzero(part == 0)
        _require_groups(store, settings, group, label, rows, 2)
        part[rows] = _validation(settings, group_ids(group[rows]), label[rows], len(store.classes))
    return _checked(Split.of_parts(part, {**asdict(settings), "fingerprint": store.fingerprint}))


def check_kind(store: "Store", kind: str) -> None:
    """Raise Hep2ganError where the store lacks what the kind rests on: specimens, given parts."""
    if kind == "specimen":
        _known_specimens(store)
    elif kind == "given":
        _given_parts(store)


def _groups(store: "Store", settings: SplitSettings) -> GroupIds:
    """(N,) numbers of the groups this kind of split must not cut."""
    label = np.asarray(store.label)
    if settings.kind == "block":
        minimum = max(settings.folds or 0, settings.needed)
        group = block_groups(store.id, label, settings.blocks_per_class, minimum)
    elif settings.kind == "specimen":
        group = _known_specimens(store)
    else:
        group = np.arange(len(label))
    return (
        merge_groups(group, duplicate_groups(store.digest)) if settings.group_duplicates else group
    )


def _known_specimens(store: "Store") -> GroupIds:
    specimen = np.asarray(store.specimen)
    if unknown := int((specimen < 0).sum()):
        raise Hep2ganError(
            f"{unknown:,} of {len(store):,} cells of {store.path} name no specimen",
            "a specimen split needs the specimen of every cell",
            "put specimens.csv (image,specimen) beside the images of the ICPR 2016 set, or a"
            " specimen column into manifest.csv, and pack again; or set split=block",
        )
    return group_ids(specimen)


def _test_part(settings: SplitSettings, group: GroupIds, label: GroupIds, classes: int) -> GroupIds:
    """(N,) 2 for the cells to test on, else 0."""
    counts = np.bincount(label, minlength=classes)
    rng = np.random.default_rng([settings.seed, 1])
    if settings.folds is None:
        quota, need = fraction_quota(counts, settings.test_fraction), [settings.needed - 1, 1]
        return 2 * assign_groups(group, label, quota, np.asarray(need), rng)
    quota = fold_quota(counts, settings.folds)
    dealt = assign_groups(group, label, quota, np.ones(settings.folds, np.int64), rng)
    return np.where(dealt == settings.fold, 2, 0)


def _validation(
    settings: SplitSettings, group: GroupIds, label: GroupIds, classes: int
) -> GroupIds:
    """(M,) 1 for the training cells to validate on, else 0."""
    quota = fraction_quota(np.bincount(label, minlength=classes), settings.validation_fraction)
    rng = np.random.default_rng([settings.seed, 2, settings.fold])
    return assign_groups(group, label, quota, np.ones(2, np.int64), rng)


def _given_parts(store: "Store") -> GroupIds:
    part = np.asarray(store.part).astype(np.int64)
    if missing := int((part < 0).sum()):
        raise Hep2ganError(
            f"{missing:,} of {len(store):,} cells of {store.path} have no given part",
            f"a given split needs {format_options(PARTS)} for every cell",
            "fill the split column of manifest.csv and pack again, or set split=random",
        )
    return part


def _given(store: "Store", group: GroupIds) -> GroupIds:
    part = _given_parts(store)
    # Twins follow the one that is tested, so that no given test cell is lost.
    highest = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.maximum.at(highest, group, part)
    return highest[group]


def _require_groups(
    store: "Store",
    settings: SplitSettings,
    group: GroupIds,
    label: GroupIds,
    rows: GroupIds,
    needed: int,
) -> None:
    """Raise where a class that has cells has fewer groups among `rows` than needed."""
    classes = len(store.classes)
    # Marked rather than sorted: of a million cells that takes milliseconds, not a second.
    seen = np.zeros((int(group.max(initial=-1)) + 1, classes), np.bool_)
    seen[group[rows], label[rows]] = True
    found = seen.sum(0).tolist()
    for k in np.unique(label):
        if found[k] < needed:
            unit = UNITS[settings.kind]
            where = "" if len(rows) == len(label) else " to train on"
            raise Hep2ganError(
                f"Class {store.classes[k]!r} has {found[k]} {unit}{'s' * (found[k] != 1)}{where}",
                f"it needs at least {needed}, to have one of its own in every part",
                "choose another kind of split"
                + (", or set validation_fraction=0" if settings.validation_fraction else "")
                + (", or switch off group_duplicates" if settings.group_duplicates else ""),
            )


def _checked(split: Split) -> Split:
    wanted = [("train", split.train), ("test", split.test)]
    if split.settings["validation_fraction"]:
        wanted.append(("validation", split.validation))
    for name, rows in wanted:
        if not len(rows):
            fold = f" of fold {split.settings['fold']}" if split.settings["folds"] else ""
            raise Hep2ganError(
                f"The {name} part{fold} has no cells", "", "use fewer folds or another kind"
            )
    return split


def describe(split: Split, store: "Store") -> list[str]:
    """Sentences for the log: what the split is, and classes that a part does not have."""
    settings, counts = split.settings, split.counts(store)
    fold = f", fold {settings['fold']} of {settings['folds']}" if settings["folds"] else ""
    sizes = ", ".join(f"{sum(counts[name].values()):,} {name}" for name in PARTS)
    lines = [f"Split {settings['kind']} (seed {settings['seed']}{fold}): {sizes} cells."]
    for name in PARTS:
        absent = [c for c, n in counts[name].items() if not n and any(counts[p][c] for p in PARTS)]
        if absent and any(counts[name].values()):
            lines.append(f"The {name} part has no cell of {', '.join(absent)}.")
    return lines
