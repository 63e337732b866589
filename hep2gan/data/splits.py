"""Splits of a store into training, validation and test cells: made, saved and loaded.

Kinds: random, block, specimen or given; one test fraction, or k folds of each.
"""

import csv
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hep2gan.data.grouping import (
    GroupIds,
    assign_groups,
    beside,
    block_groups,
    duplicate_groups,
    fold_quota,
    fraction_quota,
    group_ids,
    merge_groups,
)
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import atomic_write, read_json
from hep2gan.settings import Fraction, PositiveInt, Seed, Settings

PARTS = ("train", "validation", "test")
"""Names of the parts; part numbers 0, 1, 2 are their positions here."""
LEFT_OUT = 3
"""Part number of cells that a guard leaves out; split.csv calls them `left_out`."""
_GUARD_SHARE = 80
"""A guard by default is an eightieth of all cells: of the ICPR 2016 set about one specimen."""
SplitKind = Literal["random", "block", "specimen", "given"]
UNITS = {"random": "cell", "block": "block", "specimen": "specimen", "given": "cell"}
"""What each kind of split assigns whole."""

_PART_NAMES = (*PARTS, "left_out")
_FIX = "make the split again from this store"


class SplitSettings(Settings):
    """What a split depends on besides the store.

    Args:
        kind: `random` assigns single cells; `block` assigns blocks of contiguous ids of a class,
            where specimens are unknown, less the guard beside them; `specimen` assigns whole ones;
            `given` takes the split column of the manifest. All but `given` keep the class
            proportions in every part.
        seed: Seed of the random assignment.
        test_fraction: Fraction of all cells to test on; ignored with folds. The most even of
            several divisions is kept, so that over seeds a large specimen is tested less often
            than a small one; folds test each once.
        folds: Number of folds whose test parts partition the set; None for a single split.
        fold: Number of the fold to test on, from 0; None for seeds in turn: seed s tests fold
            s modulo folds of the division that s // folds draws, so that as many seeds as there
            are folds test every cell once.
        validation_fraction: Fraction of the *training part* to validate on, chosen in the same way
            (at random under `given`); 0 for none. The test part does not depend on it while classes
            have enough groups.
        group_duplicates: Keep byte-identical cells in one part; None for yes under `specimen` and
            `block`, which keep specimens apart, and no under `random` and `given`.
        blocks_per_class: Blocks per class under `block`; with 10 and a 9:1 split, the test part is
            one contiguous block per class. Each border of it divides a specimen, so more blocks
            need more guards.
        guard: Under `block`, ids left out on each side of a block that is tested or validated on,
            in no part, since those next to it are of the same specimens; None for an eightieth of
            all cells, which in the ICPR 2016 set is about one specimen; 0 for none. A specimen
            longer than the guard is still on both sides.

    Raises:
        Hep2ganError: A value is out of range, or a given split has folds.
    """

    kind: SplitKind = "random"
    seed: Seed = 0
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    folds: Annotated[int, Field(ge=2, examples=[5])] | None = None
    fold: Annotated[int, Field(ge=0)] | None = 0
    validation_fraction: Fraction = 0.0
    group_duplicates: bool | None = None
    blocks_per_class: PositiveInt = 10
    guard: Annotated[int, Field(ge=0, examples=[170])] | None = None

    def conflict(self) -> Hep2ganError | None:
        """Check that the fold exists, and that a given split has no folds.

        Returns:
            What is wrong, or None.
        """
        if self.kind == "given" and self.folds is not None:
            return Hep2ganError("A given split has no folds", "", "drop folds, or use another kind")
        if self.fold is None and self.folds is None:
            return Hep2ganError(
                "split.fold is null, and split.folds too",
                "null lets seeds take turns at the folds",
                "set split.folds=5, or split.fold=0",
            )
        last = (self.folds or 1) - 1
        if self.fold is not None and self.fold > last:
            return Hep2ganError(
                f"split.fold is {self.fold}", f"it must be 0..{last}", "set it below split.folds"
            )
        return None

    @property
    def division(self) -> tuple[int, int]:
        """Seed that draws the parts, and number of the fold to test on."""
        if self.fold is not None:
            return self.seed, self.fold
        assert self.folds is not None
        return divmod(self.seed, self.folds)

    @property
    def keeps_identical(self) -> bool:
        """Whether byte-identical cells stay in one part."""
        if self.group_duplicates is None:
            return self.kind in ("specimen", "block")
        return self.group_duplicates

    def guard_of(self, cells: int) -> int:
        """Return how many ids are left out beside each border of a block.

        Args:
            cells: Number of cells of the store.
        """
        if self.kind != "block":
            return 0
        return cells // _GUARD_SHARE if self.guard is None else self.guard

    @property
    def groups_needed(self) -> int:
        """Groups a class must have, so that every part can get one of its own."""
        return 3 if self.validation_fraction else 2


@dataclass(frozen=True)
class Split:
    """Which cells are used for training, validation and test; every cell is in one or left out.

    Attributes:
        train: Rows of the store, ascending.
        validation: Rows of the store, ascending.
        test: Rows of the store, ascending.
        settings: How the split was made (kind, seed, fold, …), and `fingerprint` of its store.
        left_out: Rows of the store that a guard leaves out, ascending.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    settings: dict[str, Any]
    left_out: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def from_parts(cls, part: npt.NDArray[np.integer[Any]], settings: dict[str, Any]) -> "Split":
        """Build a split from the part numbers of all cells.

        Args:
            part: (N,) 0 for training, 1 for validation, 2 for test, `LEFT_OUT`.
            settings: See `Split`.

        Returns:
            The split.
        """
        train, validation, test, left_out = (
            np.flatnonzero(part == p).astype(np.int64) for p in range(LEFT_OUT + 1)
        )
        return cls(train, validation, test, settings, left_out)

    @property
    def part(self) -> npt.NDArray[np.int8]:
        """(N,) part number of every cell: 0 train, 1 validation, 2 test, 3 left out."""
        parts = (self.train, self.validation, self.test, self.left_out)
        part = np.full(sum(map(len, parts)), -1, np.int8)
        for number, rows in enumerate(parts):
            part[rows] = number
        return part

    def counts(self, store: Store) -> dict[str, dict[str, int]]:
        """Count the cells of each class in each part.

        Args:
            store: The store of this split.

        Returns:
            For each part by name, the number of cells of each class by name.
        """
        label, classes = np.asarray(store.label), store.classes
        return {
            name: dict(
                zip(classes, np.bincount(label[rows], minlength=len(classes)).tolist(), strict=True)
            )
            for name, rows in zip(PARTS, (self.train, self.validation, self.test), strict=True)
        }

    def blocks(self, store: Store) -> npt.NDArray[np.int64] | None:
        """Number the blocks of contiguous ids that a block split kept together.

        Args:
            store: The store of this split.

        Returns:
            (N,) block of every cell; None for another kind of split.
        """
        if self.settings.get("kind") != "block":
            return None
        names = SplitSettings.model_fields
        known = {name: value for name, value in self.settings.items() if name in names}
        return _groups(store, SplitSettings.model_validate(known))

    def shorten(self, cells: int) -> "Split":
        """Leave a few cells for validation and test, and give the others to training.

        Args:
            cells: Cells of each of the two parts at most, from all over it.

        Returns:
            The split, for a try of the code and not for results.
        """
        part = self.part
        for rows in (self.validation, self.test):
            kept = np.linspace(0, len(rows) - 1, min(cells, len(rows))).round().astype(np.int64)
            part[np.delete(rows, kept)] = 0
        return Split.from_parts(part, self.settings)

    def save(self, folder: Path, store: Store) -> None:
        """Write split.csv (id, part) and split.json (settings, counts) into a folder.

        Each file appears complete or not at all. split.csv is written last, so if it exists, both
        do; split.json contains its checksum, how many cells the guard
        leaves out, and how many of the store have no label and are in no part.

        Args:
            folder: The folder; made if missing.
            store: The store of this split.

        Raises:
            Hep2ganError: The split belongs to another store.
        """
        _check_fingerprint(self.settings.get("fingerprint"), store, "this split")
        text = io.StringIO()
        parts = np.asarray(_PART_NAMES)[self.part].tolist()
        rows = [("id", "part"), *zip(store.id.tolist(), parts, strict=True)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        table = text.getvalue().encode()
        record = {
            "settings": self.settings,
            "counts": self.counts(store),
            "guarded": len(self.left_out),
            "left_out": store.left_out,
            "sha256": hashlib.sha256(table).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "split.json", json.dumps(record, indent=2) + "\n")
        atomic_write(folder / "split.csv", table)

    @classmethod
    def load(cls, folder: Path, store: Store) -> "Split":
        """Read what `save` wrote and compare it with the store.

        Args:
            folder: The folder.
            store: The store of the split.

        Returns:
            The split.

        Raises:
            Hep2ganError: A file is missing, damaged or edited, or the split belongs to another
                store; the message says how they differ.
        """
        record, table = _read_record(folder / "split.json"), folder / "split.csv"
        part_of = _read_parts(table, record["sha256"])
        _check_ids(np.asarray(list(part_of), np.str_), store, table)
        _check_fingerprint(record["settings"].get("fingerprint"), store, str(folder / "split.json"))
        part = np.array([part_of[str(name)] for name in store.id.tolist()], np.int8)
        return cls.from_parts(part, record["settings"])


def make_split(store: Store, settings: SplitSettings) -> Split:
    """Split the cells of a store; the same settings and store give the same split.

    On the full ICPR 2016 set the default settings give 12,236 cells to train and 1,360 to test on.

    Args:
        store: The packed cells.
        settings: How to split them.

    Returns:
        The split.

    Raises:
        Hep2ganError: A class has too few groups for the parts, specimens or given parts are
            missing, or a part would be empty.
    """
    label = np.asarray(store.label)
    group = _groups(store, settings)
    if settings.kind == "given":
        part = _follow_given_parts(store, group)
    else:
        _require_groups(store, settings, group, np.arange(len(label)), settings.groups_needed)
        part = _choose_test(settings, group, label, len(store.classes))
    guard = settings.guard_of(len(store))
    _guard(part, store, guard)
    if settings.validation_fraction:
        if (part == 1).any():
            raise Hep2ganError(
                "The manifest already gives a validation part", "", "set validation_fraction=0"
            )
        rows = np.flatnonzero(part == 0)
        _require_groups(store, settings, group, rows, 2)
        part[rows] = _choose_validation(
            settings, group_ids(group[rows]), label[rows], len(store.classes)
        )
        _guard(part, store, guard)
    _require_trained(store, part, guard)
    used = {"group_duplicates": settings.keeps_identical, "guard": guard}
    record = {**settings.model_dump(), **used, "fingerprint": store.fingerprint}
    split = Split.from_parts(part, record)
    _require_cells(split, settings)
    return split


def halve(store: Store, rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Divide cells into two halves of equal classes, identical cells and known specimens together.

    Args:
        store: The packed cells.
        rows: (M,) rows of the store.
        seed: Seed of the division.

    Returns:
        (M,) 0 or 1.
    """
    group = np.arange(len(store)) if (store.specimen < 0).any() else _specimen_groups(store)
    group = group_ids(merge_groups(group, duplicate_groups(store.digest))[rows])
    label = np.asarray(store.label)[rows]
    quota = fold_quota(np.bincount(label, minlength=len(store.classes)), 2)
    # The leading 5 keeps these numbers apart from those of orders, options and noise.
    return assign_groups(group, label, quota, np.array([1, 1]), np.random.default_rng([5, seed]))


def check_split_possible(store: Store, kind: str) -> None:
    """Check that a store has what a kind of split needs: specimens, or given parts.

    Args:
        store: The packed cells.
        kind: Kind of the split, see `SplitSettings`.

    Raises:
        Hep2ganError: It does not.
    """
    if kind == "specimen":
        _specimen_groups(store)
    elif kind == "given":
        _given_parts(store)


def _groups(store: Store, settings: SplitSettings) -> GroupIds:
    """Compute (N,) numbers of the groups that this kind of split must keep whole."""
    if settings.kind == "block":
        minimum = max(settings.folds or 0, settings.groups_needed)
        label = np.asarray(store.label)
        group = block_groups(store.id, label, settings.blocks_per_class, minimum)
    elif settings.kind == "specimen":
        group = _specimen_groups(store)
    else:
        group = np.arange(len(store))
    return (
        merge_groups(group, duplicate_groups(store.digest)) if settings.keeps_identical else group
    )


def _guard(part: GroupIds, store: Store, guard: int) -> None:
    """Leave out the training cells whose ids are next to those of another part."""
    if guard:
        near = beside(store.id, np.asarray(store.label), np.isin(part, (1, 2)), guard)
        part[near & (part == 0)] = LEFT_OUT


def _require_trained(store: Store, part: GroupIds, guard: int) -> None:
    """Raise if the guard leaves a class without a cell to train on."""
    label, classes = np.asarray(store.label), len(store.classes)
    left_out = np.bincount(label[part == LEFT_OUT], minlength=classes)
    trained = np.bincount(label[part == 0], minlength=classes)
    if (lacking := np.flatnonzero((left_out > 0) & (trained == 0))).size:
        raise Hep2ganError(
            f"split.guard={guard} leaves class {store.classes[lacking[0]]!r} no cell to train on",
            f"{guard} ids are left out on each side of a block that is tested or validated on",
            f"set split.guard={guard // 4}, or fewer split.blocks_per_class",
        )


def _specimen_groups(store: Store) -> GroupIds:
    specimen = np.asarray(store.specimen)
    if unknown := int((specimen < 0).sum()):
        raise Hep2ganError(
            f"{unknown:,} of {len(store):,} cells of {store.path} name no specimen",
            "a specimen split needs the specimen of every cell",
            "put specimens.csv (image,specimen) beside the images of the ICPR 2016 set, or a"
            " specimen column into manifest.csv, and pack again; or set split=block",
        )
    return group_ids(specimen)


def _given_parts(store: Store) -> GroupIds:
    part = np.asarray(store.part).astype(np.int64)
    if missing := int((part < 0).sum()):
        raise Hep2ganError(
            f"{missing:,} of {len(store):,} cells of {store.path} have no given part",
            "a given split needs train, validation or test for every cell",
            "fill the split column of manifest.csv and pack again, or set split=random",
        )
    return part


def _follow_given_parts(store: Store, group: GroupIds) -> GroupIds:
    # Twins follow the one that is tested, so that no given test cell is lost.
    highest = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.maximum.at(highest, group, _given_parts(store))
    return highest[group]


def _choose_test(
    settings: SplitSettings, group: GroupIds, label: GroupIds, classes: int
) -> GroupIds:
    """Compute (N,) 2 for the cells to test on, else 0."""
    counts = np.bincount(label, minlength=classes)
    seed, tested = settings.division
    rng = np.random.default_rng([seed, 1])
    if settings.folds is None:
        quota = fraction_quota(counts, settings.test_fraction)
        minimum = np.asarray([settings.groups_needed - 1, 1])
        return 2 * assign_groups(group, label, quota, minimum, rng)
    quota = fold_quota(counts, settings.folds)
    fold = assign_groups(group, label, quota, np.ones(settings.folds, np.int64), rng)
    return np.where(fold == tested, 2, 0)


def _choose_validation(
    settings: SplitSettings, group: GroupIds, label: GroupIds, classes: int
) -> GroupIds:
    """Compute (M,) 1 for the training cells to validate on, else 0."""
    quota = fraction_quota(np.bincount(label, minlength=classes), settings.validation_fraction)
    seed, fold = settings.division
    rng = np.random.default_rng([seed, 2, fold])
    return assign_groups(group, label, quota, np.ones(2, np.int64), rng)


def _require_groups(
    store: Store, settings: SplitSettings, group: GroupIds, rows: GroupIds, needed: int
) -> None:
    """Raise if a class has cells, but fewer groups among `rows` than needed."""
    label = np.asarray(store.label)
    # Marked rather than sorted: of a million cells that takes milliseconds, not a second.
    occurs = np.zeros((int(group.max(initial=-1)) + 1, len(store.classes)), np.bool_)
    occurs[group[rows], label[rows]] = True
    groups = occurs.sum(0).tolist()
    for k in np.unique(label):
        if groups[k] < needed:
            where = "" if len(rows) == len(label) else " to train on"
            raise Hep2ganError(
                f"Class {store.classes[k]!r} has"
                f" {pluralize(groups[k], UNITS[settings.kind])}{where}",
                f"it needs at least {needed}, to have one of its own in every part",
                f"add {UNITS[settings.kind]}s of it, or choose another kind of split"
                + (", or set validation_fraction=0" if settings.validation_fraction else "")
                + (", or set group_duplicates=false" if settings.keeps_identical else ""),
            )


def _require_cells(split: Split, settings: SplitSettings) -> None:
    names = ("train", "test", "validation") if settings.validation_fraction else ("train", "test")
    for name in names:
        if not len(getattr(split, name)):
            fold = f" of fold {settings.division[1]}" if settings.folds else ""
            raise Hep2ganError(
                f"The {name} part{fold} has no cells", "", "use fewer folds or another kind"
            )


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", _FIX)
    with suppress(ValueError, KeyError):
        record = read_json(path)
        if isinstance(record["settings"], dict) and isinstance(record["sha256"], str):
            return record
    raise Hep2ganError(f"{path} is damaged", "it must hold settings and a checksum", _FIX)


def _read_parts(table: Path, checksum: str) -> dict[str, int]:
    """Read the part numbers by id. The checksum detects accidents, not attacks."""
    if not table.is_file():
        raise Hep2ganError(f"{table} does not exist", "", _FIX)
    content = table.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise Hep2ganError(f"{table} has changed since it was written", "", _FIX)
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        part_of = {name: _PART_NAMES.index(part) for name, part in rows[1:]}
    except (ValueError, csv.Error) as error:
        raise Hep2ganError(
            f"{table} is damaged ({error})", "its lines are id,part", _FIX
        ) from error
    if len(part_of) < len(rows) - 1:
        raise Hep2ganError(f"{table} is damaged", "it must name each cell once", _FIX)
    return part_of


def _check_ids(ids: npt.NDArray[np.str_], store: Store, path: Path) -> None:
    """Raise unless the ids are exactly the store's."""
    unknown, missing = np.setdiff1d(ids, store.id), np.setdiff1d(store.id, ids)
    for owner, other, names in (
        ("split", "the store", unknown),
        ("store", "the split", missing),
    ):
        if len(names):
            raise Hep2ganError(
                f"{path}: {len(names):,} cells of the {owner} are not in {other}"
                f" (the first is {names[0]})",
                f"the split has {len(ids):,} cells and the store {store.path} has {len(store):,}",
                f"point to the store this split was made from, or {_FIX}",
            )


def _check_fingerprint(fingerprint: object, store: Store, subject: str) -> None:
    if fingerprint != store.fingerprint:
        raise Hep2ganError(
            f"{subject} was made for the store with fingerprint {str(fingerprint)[:12]}, but"
            f" {store.path} has {store.fingerprint[:12]}",
            "pixels, labels or stored size differ",
            f"point to the store this split was made from, or {_FIX}",
        )
