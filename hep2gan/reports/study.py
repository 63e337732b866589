"""Finished runs read once: what tables, figures and the page are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hep2gan.errors import Hep2ganError
from hep2gan.reports.naming import numbers_by_method, seed_order, short_name
from hep2gan.reports.page.run_section import RunSection, illustrate, run_section
from hep2gan.reports.results import (
    MethodResults,
    RunResult,
    TestCells,
    check_distinct,
    group_methods,
    pool,
)
from hep2gan.reports.tables.leakage import Gap, ProtocolRow, leakage_rows
from hep2gan.reports.tables.table_1 import Table1Row, table_1_rows
from hep2gan.runs.finished import FinishedRun, read_finished_run
from hep2gan.runs.predictions import Predictions

MOST_SHOWN = 12
"""Methods in one figure: more would be small, and all their images at once large."""


@dataclass(frozen=True)
class Study:
    """Runs in the order given.

    shown: the predictions of each method's first seed by title, its folds as one test set; empty
    where there are more than MOST_SHOWN methods. sections: of each run, if they were asked for.
    reference: the method that each other is compared with; empty is the row below.
    """

    results: tuple[RunResult, ...]
    shown: dict[str, Predictions]
    sections: tuple[RunSection, ...] = ()
    reference: str = ""

    @property
    def runs(self) -> list[FinishedRun]:
        """The runs alone."""
        return [result.run for result in self.results]

    @cached_property
    def methods(self) -> list[MethodResults]:
        """The runs gathered in methods, in the order of the paper's Table I."""
        return group_methods(self.results)

    @cached_property
    def not_shown(self) -> str:
        """Why the methods are not shown side by side, and what to do; empty where they are."""
        if len(self.methods) > MOST_SHOWN:
            return (
                f"{len(self.methods)} methods are too many to be shown side by side: figures have "
                f"room for {MOST_SHOWN}. Name the runs of fewer methods to have them."
            )
        if len({method.cells.classes for method in self.methods}) > 1:
            return (
                "The methods have different classes and are not shown in one figure. Report those "
                "of the same classes together."
            )
        return ""

    def predictions(self, title: str) -> Predictions:
        """The predictions of a method's first seed, which are read anew where they are not kept."""
        if title in self.shown:
            return self.shown[title]
        method = next(one for one in self.methods if one.title == title)
        first = next(iter(method.tests))
        own = [result.run for result in method.results if result.run.seed == first]
        return pool([run.predictions() for run in own])

    @cached_property
    def table_1(self) -> list[Table1Row]:
        """The measures of each method, and how it compares with another."""
        return table_1_rows(self.methods, self.reference)

    @cached_property
    def leakage(self) -> tuple[list[ProtocolRow], list[Gap]]:
        """Methods under several kinds of split, and what those differ by."""
        return leakage_rows(self.results)


def read_study(
    paths: Sequence[Path], *, page: bool = True, figures: bool = True, reference: str = ""
) -> Study:
    """Read finished runs one after another; their images are kept only where figures need them.

    paths: a folder that is named twice is one run. page: with the sections of the single runs.
    figures: with the predictions that figures of several methods show. reference: as in `Study`.
    Raises Hep2ganError naming the run when one is missing, unfinished or damaged, or when there is
    none, and as `check_distinct` does.
    """
    if not paths:
        fix = "hep2gan-report runs/default/proposed/seed0"
        raise Hep2ganError("there are no runs to report", "a report needs at least one", fix)
    runs = [read_finished_run(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    check_distinct(runs)
    kept = _first_seeds(runs) if figures else {}
    illustrated = illustrate(runs)
    results: list[RunResult] = []
    sections: list[RunSection] = []
    parts: dict[str, list[Predictions]] = {}
    for number, run in enumerate(runs, start=1):
        predictions = run.predictions()
        results.append(RunResult(run, TestCells.from_predictions(predictions)))
        if number in kept:
            parts.setdefault(kept[number], []).append(predictions)
        if page:
            name = short_name(run, runs)
            sections.append(
                run_section(run, number, name, predictions, figures=number in illustrated)
            )
    names = [method.title for method in group_methods(results)]
    shown = {name: pool(parts[name]) for name in names if name in parts}
    return Study(tuple(results), shown, tuple(sections), reference)


def _first_seeds(runs: Sequence[FinishedRun]) -> dict[int, str]:
    """Return the numbers of the runs that stand for their methods in figures, with the names."""
    found = numbers_by_method(runs)
    if len(found) > MOST_SHOWN:
        return {}
    first = {
        name: min((runs[number - 1].seed for number in numbers), key=seed_order)
        for name, numbers in found.items()
    }
    return {
        number: name
        for name, numbers in found.items()
        for number in numbers
        if runs[number - 1].seed == first[name]
    }
