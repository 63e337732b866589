"""Make splits: random, block, specimen or given; one test fraction or k folds of each."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from hep2gan.data.dealing import deal, fold_quota, fraction_quota
from hep2gan.data.groups import Rows, block_groups, duplicate_groups, joined, numbered
from hep2gan.data.split_files import PARTS, Split
from hep2gan.data.split_settings import UNITS, Kind, SplitSettings, any_of
from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


__all__ = ["PARTS", "Split", "SplitSettings", "check_kind", "describe", "make_split"]


def make_split(
    store: "Store",
    *,
    kind: Kind = "random",
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
        part[rows] = _validation(settings, numbered(group[rows]), label[rows], len(store.classes))
    return _checked(Split.of_parts(part, {**asdict(settings), "fingerprint": store.fingerprint}))


def check_kind(store: "Store", kind: str) -> None:
    """Raise Hep2ganError where the store lacks what the kind rests on: specimens, given parts."""
    if kind == "specimen":
        _known_specimens(store)
    elif kind == "given":
        _given_parts(store)


def _groups(store: "Store", settings: SplitSettings) -> Rows:
    """(N,) numbers of the groups this kind of split must not cut."""
    label = np.asarray(store.label)
    if settings.kind == "block":
        minimum = max(settings.folds or 0, settings.needed)
        group = block_groups(store.id, label, settings.blocks_per_class, minimum)
    elif settings.kind == "specimen":
        group = _known_specimens(store)
    else:
        group = np.arange(len(label))
    return joined(group, duplicate_groups(store.digest)) if settings.group_duplicates else group


def _known_specimens(store: "Store") -> Rows:
    specimen = np.asarray(store.specimen)
    if unknown := int((specimen < 0).sum()):
        raise Hep2ganError(
            f"{unknown:,} of {len(store):,} cells of {store.path} name no specimen",
            "a specimen split needs the specimen of every cell",
            "put specimens.csv (image,specimen) beside the images of the ICPR 2016 set, or a"
            " specimen column into manifest.csv, and pack again; or set split=block",
        )
    return numbered(specimen)


def _test_part(settings: SplitSettings, group: Rows, label: Rows, classes: int) -> Rows:
    """(N,) 2 for the cells to test on, else 0."""
    counts = np.bincount(label, minlength=classes)
    rng = np.random.default_rng([settings.seed, 1])
    if settings.folds is None:
        quota, need = fraction_quota(counts, settings.test_fraction), [settings.needed - 1, 1]
        return 2 * deal(group, label, quota, np.asarray(need), rng)
    quota = fold_quota(counts, settings.folds)
    dealt = deal(group, label, quota, np.ones(settings.folds, np.int64), rng)
    return np.where(dealt == settings.fold, 2, 0)


def _validation(settings: SplitSettings, group: Rows, label: Rows, classes: int) -> Rows:
    """(M,) 1 for the training cells to validate on, else 0."""
    quota = fraction_quota(np.bincount(label, minlength=classes), settings.validation_fraction)
    rng = np.random.default_rng([settings.seed, 2, settings.fold])
    return deal(group, label, quota, np.ones(2, np.int64), rng)


def _given_parts(store: "Store") -> Rows:
    part = np.asarray(store.part).astype(np.int64)
    if missing := int((part < 0).sum()):
        raise Hep2ganError(
            f"{missing:,} of {len(store):,} cells of {store.path} have no given part",
            f"a given split needs {any_of(PARTS)} for every cell",
            "fill the split column of manifest.csv and pack again, or set split=random",
        )
    return part


def _given(store: "Store", group: Rows) -> Rows:
    part = _given_parts(store)
    # Twins follow the one that is tested, so that no given test cell is lost.
    highest = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.maximum.at(highest, group, part)
    return highest[group]


def _require_groups(
    store: "Store", settings: SplitSettings, group: Rows, label: Rows, rows: Rows, needed: int
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
