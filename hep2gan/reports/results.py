"""Results that tables and figures are computed from: test cells, runs, methods over seeds.

With the paper's Table I, to print beside runs of the same method.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.by_cell import baseline_scores, outline_scores
from hep2gan.reports.naming import group_pairs, seed_order, with_study, without_fold, without_split
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.significance import Interval, wilson

Unit = Literal["specimen", "block", "cell"]
UNITS: tuple[Unit, ...] = ("cell", "block", "specimen")
"""What intervals and tests are over; the last that is known."""


@dataclass(frozen=True, kw_only=True)
class TestCells:
    """Arrays of N test cells in K classes; None if the method does not produce them.

    Attributes:
        classes: K class names in the order of the labels.
        id: (N,) cell ids of the store.
        specimen: (N,) specimen numbers; -1 if unknown.
        label: (N,) true classes.
        crop_size: (N, 2) raw pixels; with the label, it identifies cells that share an id but
            differ.
        probabilities: (N, K) class probabilities.
        predicted: (N,) most probable classes.
        dice: (N,) Dice in [0, 1].
        jaccard: (N,) Jaccard in [0, 1]; for one mask Dice / (2 - Dice).
        boundary_f1: (N,) F1 of the outlines in [0, 1].
        hd95: (N,) 95th percentile of the distances of outlines, in raw pixels.
        baselines: (N,) the same scores of masks that learn nothing, by baseline and measure, e.g.
            `ellipse_dice`.
        block: (N,) blocks of a block split, as in `Predictions`.
        intensity: (N,) as in `Predictions`.
        pattern: (N,) as in `Predictions`.
    """

    __test__ = False  # pytest would collect it as a test class

    classes: tuple[str, ...]
    id: npt.NDArray[np.str_]
    specimen: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    crop_size: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32] | None
    predicted: npt.NDArray[np.int64] | None
    dice: npt.NDArray[np.float64] | None
    jaccard: npt.NDArray[np.float64] | None
    boundary_f1: npt.NDArray[np.float64] | None = None
    hd95: npt.NDArray[np.float64] | None = None
    baselines: npt.NDArray[np.void] | None = None
    block: npt.NDArray[np.int64] | None = None
    intensity: npt.NDArray[np.str_] | None = None
    pattern: npt.NDArray[np.str_] | None = None

    @classmethod
    def from_predictions(cls, predictions: Predictions, *, outlines: bool = True) -> "TestCells":
        """Keep what comparisons need: everything but images and features.

        Args:
            predictions: Predictions of one run.
            outlines: Whether outlines and baselines are scored too, a millisecond a cell.
        """
        dice = predictions.dice
        f1 = hd95 = baselines = None
        if outlines and dice is not None and predictions.truth is not None:
            truth = predictions.truth > 0
            f1, hd95 = outline_scores(predictions.foreground, truth, predictions.crop_size)
            baselines = baseline_scores(predictions)
        return cls(
            classes=predictions.classes,
            id=predictions.id,
            specimen=predictions.specimen,
            label=predictions.label,
            crop_size=predictions.crop_size,
            probabilities=predictions.probabilities,
            predicted=None if predictions.probabilities is None else predictions.predicted,
            dice=dice,
            jaccard=None if dice is None else dice / (2 - dice),
            boundary_f1=f1,
            hd95=hd95,
            baselines=baselines,
            block=predictions.block,
            intensity=predictions.intensity,
            pattern=predictions.pattern,
        )

    def __len__(self) -> int:
        return len(self.id)

    @property
    def specimens(self) -> int:
        """Number of specimens; 0 if that of any cell is unknown."""
        return len(np.unique(self.specimen)) if (self.specimen >= 0).all() else 0

    @property
    def unit(self) -> Unit:
        """What is independent of each other: specimens, else blocks of ids, else cells."""
        if self.specimens:
            return "specimen"
        return "cell" if self.block is None else "block"

    def units(self, kind: Unit) -> npt.NDArray[Any]:
        """Return which unit each cell belongs to.

        Args:
            kind: Kind of the units, which must be known.
        """
        found = {"specimen": self.specimen, "block": self.block, "cell": self.id}[kind]
        if found is None:
            raise Hep2ganError(f"the {kind}s of these cells are not known")
        return found

    @property
    def units_in_words(self) -> str:
        """Number of specimens or blocks, for a table; "unknown" without either."""
        if self.unit == "cell":
            return "unknown"
        count = len(np.unique(self.units(self.unit)))
        return str(count) if self.unit == "specimen" else f"{count} blocks"

    def wilson(self) -> Interval | None:
        """Compute Wilson's interval of the accuracy; None without a classifier or cells."""
        if self.predicted is None or not len(self):
            return None
        return wilson(int((self.predicted == self.label).sum()), len(self))

    def rows(self, chosen: npt.NDArray[np.integer[Any]]) -> "TestCells":
        """Select cells.

        Args:
            chosen: Indices of the cells, in the order of the result.
        """
        rows: dict[str, Any] = {"classes": self.classes}
        for name in (field.name for field in fields(self) if field.name != "classes"):
            array = getattr(self, name)
            rows[name] = None if array is None else array[chosen]
        return TestCells(**rows)


NO_INTERVAL = "no interval: too few specimens or blocks, or all alike"
"""Said where there are not enough to determine one."""


def recorded_interval(
    metrics: Mapping[str, float], measure: str = "accuracy"
) -> tuple[Interval, Unit] | None:
    """Return the interval that metrics.json holds: over cells only if no larger unit is known.

    Args:
        metrics: Content of metrics.json.
        measure: Name of the measure, without `test/`.

    Returns:
        The interval and what it is over; None where that does not determine one.
    """
    unit: Unit = next((one for one in reversed(UNITS) if f"test/{one}s" in metrics), "cell")
    low, high = (metrics.get(f"test/{measure}_{unit}s_{end}") for end in ("low", "high"))
    if low is None or high is None or not math.isfinite(low + high):
        return None
    return Interval(low, high), unit


_OF_ONE_TRAINING = (
    *("features", "distances", "mean_mask", "train_counts", "train_specimens", "crop_margin"),
    *("validation_specimen", "validation_label"),
    *("validation_probabilities", "validation_distances"),
)
"""What cannot be pooled, since it belongs to one network, one training part or one set."""

Cells = TypeVar("Cells", Predictions, TestCells)


def pool(parts: Sequence[Cells]) -> Cells:
    """Join test sets of one method, such as its folds; a single part is returned unchanged.

    Args:
        parts: At least one, all with the same classes and image size.

    Returns:
        Each id once, as in the first part that has it. Arrays that any part lacks are None, as are
        those that belong to one training, such as features and training counts.

    Raises:
        Hep2ganError: If classes or image sizes differ.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    # Where there are images, their size is one as well.
    if len({(part.classes, getattr(part, "image", part.id).shape[1:]) for part in parts}) > 1:
        raise Hep2ganError(
            "test parts of one method differ in classes or image size", "", "report them apart"
        )
    rows = np.sort(np.unique(np.concatenate([part.id for part in parts]), return_index=True)[1])
    pooled: dict[str, Any] = {"classes": first.classes}
    for name in (field.name for field in fields(first) if field.name != "classes"):
        arrays = [getattr(part, name) for part in parts]
        missing = name in _OF_ONE_TRAINING or any(array is None for array in arrays)
        pooled[name] = None if missing else np.concatenate(arrays)[rows]
    return type(first)(**pooled)


class PublishedRow(NamedTuple):
    """One row of the paper's Table I.

    Attributes:
        name: Its name in the paper.
        metrics: Fractions under the keys of metrics.json.
    """

    name: str
    metrics: dict[str, float]


def _percentages(name: str, accuracy: float, *others: float) -> PublishedRow:
    """Take percentages in the table's order; Dice and Jaccard, where given, stand in the text."""
    keys = ("accuracy", "precision", "recall", "f1", "dice", "jaccard")
    values = zip(keys, (accuracy, *others), strict=False)
    return PublishedRow(name, {f"test/{key}": round(value / 100, 4) for key, value in values})


TABLE_I: dict[str, PublishedRow] = {
    "gao": _percentages("Gao et al.", 96.76),
    "prasath": _percentages("Prasath et al.", 94.26),
    "vgg16": _percentages("VGG-16", 83.09, 85.13, 83.29, 83.41),
    "resnet50": _percentages("ResNet-50", 89.12, 89.93, 89.39, 89.56),
    "resnet50_t": _percentages("ResNet-50-T (w/o GANs)", 97.72, 97.66, 97.71, 97.68),
    "without_gm": _percentages("ResNet-50-T (w/o GM)", 97.94, 97.85, 97.73, 97.78),
    "proposed": _percentages("Proposed (w/ GANs and GM)", 98.16, 98.24, 98.06, 98.15, 96.40, 93.07),
    "segmentation": PublishedRow(
        "Proposed, section III-C", {"test/dice": 0.9640, "test/jaccard": 0.9307}
    ),
}
"""Method name (of `conf/method/`) to what Xie et al. (2019) print for it."""


class RunResult(NamedTuple):
    """A run and its test cells.

    Attributes:
        run: The run.
        cells: Its test cells.
    """

    run: FinishedRun
    cells: TestCells


@dataclass(frozen=True)
class MethodResults:
    """All results of one method in one study.

    Attributes:
        study: Name of the study.
        name: Name of the method.
        results: Its runs with their test cells.
        title: Name in tables and figures; with the study if there are several.
    """

    study: str
    name: str
    results: tuple[RunResult, ...]
    title: str

    @cached_property
    def tests(self) -> dict[str, TestCells]:
        """Test cells by seed, seeds in order; the folds of a seed are one test set."""
        results = sorted(self.results, key=lambda result: seed_order(result.run.seed))
        folds = group_pairs((result.run.seed, result.cells) for result in results)
        return {seed: pool(parts) for seed, parts in folds.items()}

    @cached_property
    def cells(self) -> TestCells:
        """Every cell once, as in the first seed that tests it."""
        return pool(list(self.tests.values()))

    @property
    def is_synthetic(self) -> bool:
        """Whether the cells of any run are synthetic."""
        return any(result.run.is_synthetic for result in self.results)

    @property
    def cells_in_words(self) -> str:
        """Number of test cells, in words that mention synthetic cells."""
        return f"{len(self.cells):,} {'synthetic ' if self.is_synthetic else ''}cells"

    @property
    def published(self) -> PublishedRow | None:
        """The paper's results of the method on patterns, if any, whatever the split of the runs."""
        learned = {result.run.target for result in self.results}
        return TABLE_I.get(without_split(self.name)) if learned == {"pattern"} else None

    @property
    def runs(self) -> tuple[Path, ...]:
        """The run folders."""
        return tuple(result.run.path for result in self.results)


def group_methods(results: Sequence[RunResult]) -> list[MethodResults]:
    """Group runs by study and method; the paper's methods in its order, then all others.

    The folds of a sweep, whose names differ in `,split.fold=3`, are one method. Of a name such as
    `vgg16,optimizer.classifier.lr=0.001` the first part tells the place.

    Args:
        results: All runs of the report.
    """
    groups = group_pairs(((one.run.study, without_fold(one.run.method)), one) for one in results)
    runs = [result.run for result in results]
    methods = [
        MethodResults(study, name, tuple(group), with_study(study, name, runs))
        for (study, name), group in groups.items()
    ]
    places = {name: place for place, name in enumerate(TABLE_I)}
    return sorted(
        methods, key=lambda method: places.get(method.name.partition(",")[0], len(places))
    )


def check_same_target(runs: Sequence[FinishedRun]) -> None:
    """Check that all runs learned the same label: scores of different labels do not compare.

    Args:
        runs: All runs of the report.

    Raises:
        Hep2ganError: If two differ; names them.
    """
    for run in runs:
        if run.target != runs[0].target:
            raise Hep2ganError(
                f"{runs[0].path} has target={runs[0].target} and {run.path} target={run.target}",
                "the runs of one report learn the same label",
                "report them apart: name the runs of one target, then those of the other with"
                " output=ANOTHER/report.html",
            )


def check_distinct(runs: Sequence[FinishedRun]) -> None:
    """Check that no two runs of one method are of the same seed and fold.

    Otherwise the cells of one would silently replace those of the other. A run without folds tests
    the same cells as folds of its seed.

    Args:
        runs: All runs of the report.

    Raises:
        Hep2ganError: If there are two; names them.
    """
    seen: dict[tuple[str, str, str], dict[int | None, FinishedRun]] = {}
    for run in runs:
        folds = seen.setdefault((run.study, without_fold(run.method), run.seed), {})
        if folds and (run.fold in folds or None in (run.fold, *folds)):
            twin = folds.get(run.fold, next(iter(folds.values())))
            raise Hep2ganError(
                f"{twin.path} and {run.path} are both {run.study}/{without_fold(run.method)}, "
                f"seed {run.seed}",
                "a method has one run per seed, or one per fold of it",
                "report them apart, or train one of them with study=ANOTHER",
            )
        folds[run.fold] = run
