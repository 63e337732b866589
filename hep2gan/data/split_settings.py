"""What a split depends on besides the store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hep2gan.errors import Hep2ganError

Kind = Literal["random", "block", "specimen", "given"]
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

    kind: Kind = "random"
    seed: int = 0
    test_fraction: float = 0.1
    folds: int | None = None
    fold: int = 0
    validation_fraction: float = 0.0
    group_duplicates: bool = False
    blocks_per_class: int = 10

    def __post_init__(self) -> None:
        if self.kind not in UNITS:
            raise Hep2ganError(f"Split kind {self.kind!r} is unknown", "", f"use {any_of(UNITS)}")
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


def any_of(names: Iterable[str]) -> str:
    """Names joined for a sentence: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _refuse(what: str, value: object, rule: str, fix: str) -> None:
    raise Hep2ganError(f"{what} is {value}", f"it must be {rule}", f"set {fix}")
