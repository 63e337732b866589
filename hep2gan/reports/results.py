"""Runs of one method over seeds and folds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.reports.published import TABLE_I, PublishedRow
from hep2gan.reports.tested import Tested, pooled
from hep2gan.runs.finished import Run


class Result(NamedTuple):
    """A run and its test cells."""

    run: Run
    cells: Tested


@dataclass(frozen=True)
class Method:
    """All results of one method in one study; the paper's method of that name, if there is one.

    title: as tables and figures call it; with the study, where they show several.
    """

    study: str
    name: str
    results: tuple[Result, ...]
    title: str

    @cached_property
    def tests(self) -> dict[str, Tested]:
        """Seed to its test cells, seeds in order; the folds of a seed are one test set."""
        found: dict[str, list[Tested]] = {}
        for result in sorted(self.results, key=lambda result: seed_order(result.run.seed)):
            found.setdefault(result.run.seed, []).append(result.cells)
        return {seed: pooled(parts) for seed, parts in found.items()}

    @cached_property
    def cells(self) -> Tested:
        """Every cell once, as the first seed that tests it has it."""
        return pooled(list(self.tests.values()))

    @property
    def drawn(self) -> bool:
        """True where the cells of any run are drawn, not photographed."""
        return any(result.run.drawn for result in self.results)

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


def methods(results: Sequence[Result]) -> list[Method]:
    """Gather runs of one study and name; the paper's rows in its order, then all others.

    The folds of a sweep, which its names tell apart as `,split.fold=3`, are one method.
    """
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        key = (result.run.study, without_fold(result.run.method))
        found.setdefault(key, []).append(result)
    runs = [result.run for result in results]
    gathered = [
        Method(study, name, tuple(group), with_study(study, name, runs))
        for (study, name), group in found.items()
    ]
    order = list(TABLE_I)
    places = {name: place for place, name in enumerate(order)}
    return sorted(gathered, key=lambda method: places.get(without_split(method.name), len(order)))


def check_apart(runs: Sequence[Run]) -> None:
    """Raise Hep2ganError naming two runs of one method that are both its run of a seed and fold.

    Merged, cells of one would silently stand for those of the other. A run without folds tests what
    folds of the same seed test too.
    """
    found: dict[tuple[str, str, str], dict[int | None, Run]] = {}
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


def with_study(study: str, name: str, runs: Sequence[Run]) -> str:
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
