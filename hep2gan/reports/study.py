"""Finished runs read once: what tables, figures and the page are made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hep2gan.errors import Hep2ganError
from hep2gan.reports.external import CrossSet, ExternalResult, cross_set, external_results
from hep2gan.reports.naming import numbers_by_method, seed_order
from hep2gan.reports.results import (
    MethodResults,
    RunResult,
    TestCells,
    check_distinct,
    check_same_target,
    group_methods,
    pool,
)
from hep2gan.reports.tables.leakage import Gap, ProtocolRow, leakage_rows
from hep2gan.reports.tables.table_1 import Table1Row, table_1_rows
from hep2gan.runs.finished import FinishedRun, read_finished_run
from hep2gan.runs.predictions import Predictions

MOST_METHODS = 12
"""Methods in one figure: more would be too small, and need too much memory."""


@dataclass(frozen=True)
class Study:
    """Finished runs, and what is computed from them.

    Attributes:
        results: The runs with their test cells, in the order given.
        first_seeds: Predictions of each method's first seed by title, its folds as one test set;
            empty if there are more than `MOST_METHODS` methods.
        reference: Method that each other is compared with; empty for the one in the row below.
    """

    results: tuple[RunResult, ...]
    first_seeds: dict[str, Predictions]
    reference: str = ""

    @property
    def runs(self) -> list[FinishedRun]:
        """The runs without their test cells."""
        return [result.run for result in self.results]

    @cached_property
    def methods(self) -> list[MethodResults]:
        """The runs grouped by method, in the order of the paper's Table I."""
        return group_methods(self.results)

    @cached_property
    def not_comparable(self) -> str:
        """Why no figure shows the methods side by side, and what to do; empty if figures do."""
        if len(self.methods) > MOST_METHODS:
            return (
                f"{len(self.methods)} methods are too many to be shown side by side: figures have "
                f"room for {MOST_METHODS}. Name the runs of fewer methods to have them."
            )
        if len({method.cells.classes for method in self.methods}) > 1:
            return (
                "The methods have different classes and are not shown in one figure. Report those "
                "of the same classes together."
            )
        return ""

    def predictions(self, title: str) -> Predictions:
        """Return the predictions of a method's first seed; they are read again if not kept.

        Args:
            title: Title of the method.
        """
        if title in self.first_seeds:
            return self.first_seeds[title]
        method = next(method for method in self.methods if method.title == title)
        runs = _of_first_seed([result.run for result in method.results])
        return pool([run.predictions() for run in runs])

    @cached_property
    def table_1(self) -> list[Table1Row]:
        """The measures of each method, and its comparison with another."""
        return table_1_rows(self.methods, self.reference)

    @cached_property
    def external(self) -> list[ExternalResult]:
        """What the methods do on other sets than their own; empty without such tests."""
        return external_results(self.methods)

    @cached_property
    def cross_set(self) -> CrossSet | None:
        """Measures by training set and test set; None unless there are several training sets."""
        return cross_set(self.external)

    @cached_property
    def leakage(self) -> tuple[list[ProtocolRow], list[Gap]]:
        """Methods under several kinds of split, and the differences between those."""
        return leakage_rows(self.results)


def read_runs(paths: Sequence[Path]) -> list[FinishedRun]:
    """Read finished runs without their predictions; a folder named twice is one run.

    Args:
        paths: Run folders.

    Raises:
        Hep2ganError: If there is none, one is missing, unfinished or damaged, or as
            `check_same_target` and `check_distinct`.
    """
    if not paths:
        raise Hep2ganError(
            "there are no runs to report",
            "a report needs at least one",
            "hep2gan-report runs/default/proposed/seed0",
        )
    runs = [read_finished_run(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    check_same_target(runs)
    check_distinct(runs)
    return runs


def read_study(
    runs: Sequence[FinishedRun],
    *,
    figures: bool = True,
    reference: str = "",
    visit: Callable[[FinishedRun, Predictions], None] | None = None,
) -> Study:
    """Read the predictions of runs one after another; keep images only if figures need them.

    Args:
        runs: As from `read_runs`.
        figures: Whether to keep the predictions that figures of several methods show.
        reference: Method that each other is compared with; empty for the one in the row below.
        visit: Called with each run and its predictions while they are in memory.

    Raises:
        Hep2ganError: If the predictions of a run are damaged; names it.
    """
    methods = numbers_by_method(runs) if figures else {}
    shown = {
        run.path: title
        for title, numbers in methods.items()
        for run in _of_first_seed([runs[number - 1] for number in numbers])
        if len(methods) <= MOST_METHODS
    }
    results: list[RunResult] = []
    folds: dict[str, list[Predictions]] = {}
    for run in runs:
        predictions = run.predictions()
        results.append(RunResult(run, TestCells.from_predictions(predictions)))
        if run.path in shown:
            folds.setdefault(shown[run.path], []).append(predictions)
        if visit is not None:
            visit(run, predictions)
    pooled = {
        method.title: pool(folds[method.title])
        for method in group_methods(results)
        if method.title in folds
    }
    return Study(tuple(results), pooled, reference)


def _of_first_seed(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Return the runs that stand for their method in figures."""
    first = min((run.seed for run in runs), key=seed_order)
    return [run for run in runs if run.seed == first]
