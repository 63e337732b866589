"""Another labelled set in the classes of a run: which cells a trained method is tested on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hep2gan.data.patterns import same_classes
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, pluralize

_BLOCK = 1024
"""Images read at a time."""


@dataclass(frozen=True)
class ExternalSet:
    """Cells of another set, labelled with the classes of a run.

    Attributes:
        store: The packed cells; `classes` are the run's and `label` is -1 without a partner.
        rows: (N,) rows of the store to test on.
        classes: For each class of the set that has a partner, the class of the run.
        left_out: Cells of each class of the set without a partner, which are not tested.
        absent: Classes of the run without a cell in the set.
        identical: (id, id of a training cell) of cells whose image was in training, which are not
            tested; None if the training cells could not be read.
    """

    store: Store
    rows: npt.NDArray[np.int64]
    classes: dict[str, str]
    left_out: dict[str, int]
    absent: tuple[str, ...]
    identical: tuple[tuple[str, str], ...] | None

    def lines(self) -> list[str]:
        """Say in words what is tested, what is not, and why.

        Returns:
            One line or more.
        """
        found = [f"tested on {len(self.rows):,} of {pluralize(len(self.store), 'cell')}"]
        renamed = [f"{name} as {own}" for name, own in self.classes.items() if name != own]
        if renamed:
            found.append(f"classes by other names: {', '.join(renamed)}")
        found += [
            f"left out: {pluralize(count, 'cell')} of {name}, which is no class of the run"
            for name, count in self.left_out.items()
        ]
        if self.absent:
            found.append(
                f"not in this set: {', '.join(self.absent)}; a cell taken for one counts as wrong"
            )
        if self.identical:
            cell, twin = self.identical[0]
            found.append(
                f"left out: {pluralize(len(self.identical), 'cell')} whose image was in training"
                f" (e.g. {cell} = {twin})"
            )
        return found


def match_classes(
    ours: Sequence[str], theirs: Sequence[str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Match the classes of another set with those of a run.

    A pair that is given counts, then the same name, then names that `canonical_class` calls one
    class, unless several classes of the run are that one.

    Args:
        ours: Classes of the run.
        theirs: Classes of the other set.
        given: Classes of the other set with the run's classes that they are.

    Returns:
        For each class of the set that has a partner, the class of the run. Several classes of the
        set may be one of the run.

    Raises:
        Hep2ganError: A given name is no class, or no class has a partner.
    """
    given = given or {}
    for names, known, whose in (
        (given, theirs, "the set"),
        (given.values(), ours, "the run"),
    ):
        if unknown := [name for name in names if name not in known]:
            raise Hep2ganError(
                f"classes names {unknown[0]!r}, which is no class of {whose}",
                f"it has {', '.join(known)}",
                "write classes={CLASS OF THE SET: CLASS OF THE RUN} with names as they stand there",
            )
    found = same_classes(theirs, ours) | dict(given)
    if not found:
        raise Hep2ganError(
            f"no class of the set ({', '.join(theirs)}) is one of the run ({', '.join(ours)})",
            "a test needs cells of the classes that the run names",
            f"say which they are, e.g. 'classes={{{theirs[0]}: {ours[0]}}}'",
        )
    return found


def external_set(
    store: Store,
    classes: Sequence[str],
    given: Mapping[str, str] | None = None,
    training: tuple[Store, npt.NDArray[np.int64]] | None = None,
) -> ExternalSet:
    """Choose the cells of another set that a run is tested on.

    Args:
        store: The other set, at the image size of the run.
        classes: K class names of the run.
        given: As in `match_classes`.
        training: Store of the run, and the rows that it was trained or validated on; None if they
            cannot be read.

    Returns:
        All cells whose class has a partner and whose image was not in training.

    Raises:
        Hep2ganError: As `match_classes`; no cell remains.
    """
    partner = match_classes(classes, store.classes, given)
    number = {name: label for label, name in enumerate(classes)}
    label_of = np.array([number[partner[n]] if n in partner else -1 for n in store.classes])
    counts = np.bincount(store.label, minlength=len(store.classes)).tolist()
    label = label_of[store.label].astype(np.int64)
    rows = np.flatnonzero(label >= 0)
    identical = None
    if training is not None:
        own, used = training
        # The first of identical training cells is named.
        names = own.id[used].tolist()
        seen = dict(reversed([*zip(_digests(own, used), names, strict=True)]))
        # Also of the files as they were, so that a cell is known again if its crop was cut anew.
        raw = dict(reversed([*zip(map(bytes, own.digest[used]), names, strict=True)]))
        files = map(bytes, store.digest[rows])
        twins = [
            seen.get(digest, raw.get(file))
            for digest, file in zip(_digests(store, rows), files, strict=True)
        ]
        pairs = zip(store.id[rows].tolist(), twins, strict=True)
        identical = tuple((cell, twin) for cell, twin in pairs if twin is not None)
        rows = rows[[twin is None for twin in twins]]
    if not len(rows):
        raise Hep2ganError(
            f"no cell of {store.path} is left to test on",
            "cells whose images were in training are no test",
            "test on another set; hep2gan-evaluate RUN alone tests on the run's own test cells",
        )
    present = {classes[k] for k in np.unique(label[rows])}
    return ExternalSet(
        store=replace(store, classes=tuple(classes), label=label),
        rows=rows,
        classes=partner,
        left_out={
            name: count
            for name, count in zip(store.classes, counts, strict=True)
            if name not in partner and count
        },
        absent=tuple(name for name in classes if name not in present),
        identical=identical,
    )


def _digests(store: Store, rows: npt.NDArray[np.int64]) -> Iterator[bytes]:
    """Yield a hash of each stored image and its crop's size, without the mask.

    A mask that was outlined anew, or left away, does not make a seen image a new one.
    """
    for start in range(0, len(rows), _BLOCK):
        store.check_not_truncated()
        block = rows[start : start + _BLOCK]
        sizes = np.asarray(store.crop_size[block], np.int64)
        for image, size in zip(np.asarray(store.image[block]), sizes, strict=True):
            yield hashlib.blake2b(image.tobytes() + size.tobytes(), digest_size=16).digest()
