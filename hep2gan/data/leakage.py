"""What a split shares between training and test: specimens, and byte-identical cells."""

from dataclasses import dataclass

import numpy as np

from hep2gan.data.grouping import duplicate_groups
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.errors import pluralize


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Overlap of the test part with the training part.

    Attributes:
        test_cells: Cells in the test part.
        unknown_cells: Cells of both parts whose specimen is unknown.
        test_specimens: Known specimens with cells in the test part.
        shared_specimens: Those of them that have cells in the training part too.
        guard: Ids left out on each side of a block that is held out; None under another split.
        left_out: Cells that the guard leaves out.
        duplicates: One (test id, training id) for each test cell with a byte-identical cell in the
            training part.
    """

    test_cells: int
    unknown_cells: int
    test_specimens: int
    shared_specimens: int
    duplicates: tuple[tuple[str, str], ...]
    guard: int | None = None
    left_out: int = 0

    @property
    def specimens_known(self) -> bool:
        """Whether every training and test cell names its specimen."""
        return not self.unknown_cells

    def warnings(self) -> list[str]:
        """Describe in sentences what is shared, or that nothing is.

        Returns:
            One sentence or more.
        """
        lines = []
        if self.duplicates:
            tested, twin = self.duplicates[0]
            count = len(self.duplicates)
            lines.append(
                f"Leakage: {count:,} of {pluralize(self.test_cells, 'test cell')}"
                f" {'has' if count == 1 else 'have'} a byte-identical twin in training"
                f" (e.g. {tested} = {twin}); group_duplicates keeps twins together."
            )
        if self.shared_specimens:
            lines.append(
                f"Leakage: {self.shared_specimens:,} of {self.test_specimens:,} test specimens also"
                " have cells in training: accuracy on unseen specimens may be much lower."
            )
        if not self.specimens_known:
            verb = "names" if self.unknown_cells == 1 else "name"
            lines.append(
                f"{pluralize(self.unknown_cells, 'cell')} {verb} no specimen: whether training and"
                " test share specimens cannot be known."
            )
        if self.guard is not None:
            lines.append(
                f"Guard: {pluralize(self.left_out, 'cell')} within {self.guard:,} ids of a held-out"
                f" block {'is' if self.left_out == 1 else 'are'} in no part; a specimen with more"
                " cells than that is on both sides still."
            )
        return lines or ["No specimen and no byte-identical cell is in both training and test."]

    def metrics(self) -> dict[str, float]:
        """Return what metrics.json records.

        Returns:
            Counts by name; shared specimens only if every specimen is known.
        """
        metrics = {"leakage/duplicate_test_cells": float(len(self.duplicates))}
        if self.specimens_known:
            metrics["leakage/shared_specimens"] = float(self.shared_specimens)
        return metrics


def measure_leakage(store: Store, split: Split) -> Leakage:
    """Find what the test part of a split shares with its training part.

    Args:
        store: The packed cells.
        split: A split of this store.

    Returns:
        The overlap.
    """
    train, test = split.train, split.test
    specimen = np.asarray(store.specimen)
    trained, tested = np.unique(specimen[train]), np.unique(specimen[test])
    tested = tested[tested >= 0]
    group = duplicate_groups(store.digest)
    twins, first = np.unique(group[train], return_index=True)
    leaking = test[np.isin(group[test], twins)]
    twin = train[first[np.searchsorted(twins, group[leaking])]]
    return Leakage(
        test_cells=len(test),
        unknown_cells=int((specimen[train] < 0).sum() + (specimen[test] < 0).sum()),
        test_specimens=len(tested),
        shared_specimens=len(np.intersect1d(trained, tested)),
        guard=split.settings.get("guard") if split.settings.get("kind") == "block" else None,
        left_out=len(split.left_out),
        duplicates=tuple(zip(store.id[leaking].tolist(), store.id[twin].tolist(), strict=True)),
    )
