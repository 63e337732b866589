"""Runs of one method over seeds and folds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.segmentation import dice_by_cell
from hep2gan.reports.published import TABLE_I, PublishedRow
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class TestCells:
    """Arrays of N test cells in K classes; None what the method does not produce."""

    classes: tuple[str, ...]
    id: npt.NDArray[np.str_]
    """(N,)"""
    specimen: npt.NDArray[np.int64]
    """(N,), -1 where unknown."""
    label: npt.NDArray[np.int64]
    """(N,) true class."""
    crop_size: npt.NDArray[np.int64]
    """(N, 2) raw pixels: with the label it tells whether two cells of one id are the same."""
    probabilities: npt.NDArray[np.float32] | None
    """(N, K)"""
    predicted: npt.NDArray[np.int64] | None
    """(N,) most probable class."""
    dice: npt.NDArray[np.float64] | None
    """(N,) in [0, 1]."""
    jaccard: npt.NDArray[np.float64] | None
    """(N,) in [0, 1]; of one mask it is Dice / (2 - Dice)."""

    def __len__(self) -> int:
        return len(self.id)

    @property
    def specimens(self) -> int:
        """How many there are; 0 where that of any cell is unknown."""
        return len(np.unique(self.specimen)) if (self.specimen >= 0).all() else 0

    def rows(self, chosen: npt.NDArray[np.integer[Any]]) -> "TestCells":
        """The chosen cells, in that order."""
        return TestCells(
            classes=self.classes, **{name: _taken(self, name, chosen) for name in _ARRAYS}
        )


_ARRAYS = tuple(field.name for field in fields(TestCells) if field.name != "classes")


def _taken(cells: TestCells, name: str, chosen: npt.NDArray[np.integer[Any]]) -> Any:
    array = getattr(cells, name)
    return None if array is None else array[chosen]


def test_cells_of(predictions: Predictions) -> TestCells:
    """Keep of predictions what comparisons need."""
    classified = predictions.probabilities is not None
    dice = None if predictions.mask is None else dice_by_cell(predictions)
    return TestCells(
        classes=predictions.classes,
        id=predictions.id,
        specimen=predictions.specimen,
        label=predictions.label,
        crop_size=predictions.crop_size,
        probabilities=predictions.probabilities,
        predicted=predictions.predicted if classified else None,
        dice=dice,
        jaccard=None if dice is None else dice / (2 - dice),
    )


def pool_test_cells(parts: Sequence[TestCells]) -> TestCells:
    """Join the test cells of several parts, each id once, as the first part has it.

    Raises Hep2ganError where the parts do not have the same classes.
    """
    if len({part.classes for part in parts}) > 1:
        raise Hep2ganError(
            "test parts of one method have different classes", "", "report them apart"
        )
    arrays = {name: [getattr(part, name) for part in parts] for name in _ARRAYS}
    whole: dict[str, Any] = {
        name: None if any(array is None for array in found) else np.concatenate(found)
        for name, found in arrays.items()
    }
    cells = TestCells(classes=parts[0].classes, **whole)
    _, first = np.unique(cells.id, return_index=True)
    return cells.rows(np.sort(first))


class RunResult(NamedTuple):
    """A run and its test cells."""

    run: FinishedRun
    cells: TestCells


@dataclass(frozen=True)
class MethodResults:
    """All results of one method in one study; the paper's method of that name, if there is one.

    title: as tables and figures call it; with the study, where they show several.
    """

    study: str
    name: str
    results: tuple[RunResult, ...]
    title: str

    @cached_property
    def tests(self) -> dict[str, TestCells]:
        """Seed to its test cells, seeds in order; the folds of a seed are one test set."""
        found: dict[str, list[TestCells]] = {}
        for result in sorted(self.results, key=lambda result: seed_order(result.run.seed)):
            found.setdefault(result.run.seed, []).append(result.cells)
        return {seed: pool_test_cells(parts) for seed, parts in found.items()}

    @cached_property
    def cells(self) -> TestCells:
        """Every cell once, as the first seed that tests it has it."""
        return pool_test_cells(list(self.tests.values()))

    @property
    def drawn(self) -> bool:
        """True where the cells of any run are drawn, not photographed."""
        return any(result.run.is_synthetic for result in self.results)

    @property
    def cells_in_words(self) -> str:
        """How many cells are tested, and that they are drawn, if they are."""
        return f"{len(self.cells):,} {'drawn ' if self.drawn else ''}cells"

    @property
    def published(self) -> PublishedRow | None:
        """What the paper prints for the method, whatever the split of ours."""
        return TABLE_I.get(without_split(self.name))

    @property
    def runs(self) -> tuple[Path, ...]:
        """The run folders."""
        return tuple(result.run.path for result in self.results)


def group_methods(results: Sequence[RunResult]) -> list[MethodResults]:
    """Gather runs of one study and name; the paper's rows in its order, then all others.

    The folds of a sweep, which its names tell apart as `,split.fold=3`, are one method.
    """
    found: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        key = (result.run.study, without_fold(result.run.method))
        found.setdefault(key, []).append(result)
    runs = [result.run for result in results]
    gathered = [
        MethodResults(study, name, tuple(group), with_study(study, name, runs))
        for (study, name), group in found.items()
    ]
    order = list(TABLE_I)
    places = {name: place for place, name in enumerate(order)}
    return sorted(gathered, key=lambda method: places.get(without_split(method.name), len(order)))


def check_apart(runs: Sequence[FinishedRun]) -> None:
    """Raise Hep2ganError naming two runs of one method that are both its run of a seed and fold.

    Merged, cells of one would silently stand for those of the other. A run without folds tests what
    folds of the same seed test too.
    """
    found: dict[tuple[str, str, str], dict[int | None, FinishedRun]] = {}
    for run in runs:
        own = found.setdefault((run.study, without_fold(run.method), run.seed), {})
        if own and (run.fold in own or None in (run.fold, *own)):
            twin = own.get(run.fold, next(iter(own.values())))
            raise Hep2ganError(
                f"{twin.path} and {run.path} are both {run.study}/{without_fold(run.method)}, "
                f"seed {run.seed}",
                "a method has one run a seed, or one a fold of it",
                "report them apart, or train one of them with study=ANOTHER",
            )
        own[run.fold] = run


def with_study(study: str, name: str, runs: Sequence[FinishedRun]) -> str:
    """`name`, behind its study where `runs` are of several."""
    several = any(run.study != runs[0].study for run in runs)
    return f"{study}/{name}" if several else name


def without_fold(name: str) -> str:
    """A method's name without the fold, which a sweep puts into it."""
    return re.sub(r",split\.fold=\d+", "", name)


def without_split(name: str) -> str:
    """A method's name without what a sweep changes about the split.

    >>> without_split("proposed,split=specimen,loss.beta=5,split.fold=0")
    'proposed,loss.beta=5'
    """
    return re.sub(r",split(\.\w+)?=[^,]*", "", name)


def seed_order(seed: str) -> tuple[bool, int, str]:
    """Sort key of seeds: numbers as numbers, and before any other."""
    return (False, int(seed), "") if seed.isdecimal() else (True, 0, seed)


_OF_ONE_TRAINING = ("features", "mean_mask", "train_counts")
"""What cannot be joined: each network has features of its own, each training part its own cells."""


def pool_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Join the folds of a seed, each id once, as the first part has it; one part stays as it is.

    What only makes sense for one training (features, mean mask, counts) is None then. Raises
    Hep2ganError where classes or image sizes differ.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.classes, part.image.shape[1:]) for part in parts}) > 1:
        raise Hep2ganError(
            "folds of one method differ in classes or image size", "", "report them apart"
        )
    ids = np.concatenate([part.id for part in parts])
    rows = np.sort(np.unique(ids, return_index=True)[1])
    arrays: dict[str, Any] = {}
    for field in fields(Predictions):
        found = [getattr(part, field.name) for part in parts]
        if field.name == "classes":
            arrays["classes"] = found[0]
        elif field.name in _OF_ONE_TRAINING or any(array is None for array in found):
            arrays[field.name] = None
        else:
            arrays[field.name] = np.concatenate(found)[rows]
    return Predictions(**arrays)
