"""Names of runs and methods: as short as they are distinct, and many of them in one word."""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from hep2gan.runs.finished import FinishedRun

_LONGEST = 60


Key = TypeVar("Key", bound=Hashable)
Member = TypeVar("Member")


def group_pairs(pairs: Iterable[tuple[Key, Member]]) -> dict[Key, list[Member]]:
    """Gather the members of each key; both stay in order."""
    groups: dict[Key, list[Member]] = {}
    for key, member in pairs:
        groups.setdefault(key, []).append(member)
    return groups


def with_study(study: str, name: str, runs: Sequence[FinishedRun]) -> str:
    """Return `name`, behind its study where `runs` are of several."""
    return f"{study}/{name}" if any(run.study != runs[0].study for run in runs) else name


def without_fold(name: str) -> str:
    """Return a method's name without the fold, which a sweep puts into it."""
    return re.sub(r",split\.fold=\d+", "", name)


def without_split(name: str) -> str:
    """Return a method's name without what a sweep changes about the split.

    >>> without_split("proposed,split=specimen,loss.beta=5,split.fold=0")
    'proposed,loss.beta=5'
    """
    return re.sub(r",split(\.\w+)?=[^,]*", "", name)


def seed_order(seed: str) -> tuple[bool, int, str]:
    """Return the sort key of a seed: numbers as numbers, and before any other."""
    return (False, int(seed), "") if seed.isdecimal() else (True, 0, seed)


def short_name(run: FinishedRun, runs: Sequence[FinishedRun]) -> str:
    """Return method and seed; with the study, where `runs` are of several."""
    return f"{with_study(run.study, run.method, runs)}/seed{run.seed}"


def numbers_by_method(runs: Sequence[FinishedRun]) -> dict[str, list[int]]:
    """Return each method by its title, the folds of a sweep as one, with its runs' numbers.

    A run's number is its place among `runs`, from 1.
    """
    return group_pairs(
        (with_study(run.study, without_fold(run.method), runs), number)
        for number, run in enumerate(runs, start=1)
    )


class Link(NamedTuple):
    """A name, and the number, from 1, of the run that it leads to; 0 leads nowhere."""

    name: str
    run: int
    title: str = ""
    """The whole name, where `name` is a part of it."""


class RunGroup(NamedTuple):
    """Runs that differ in seed or fold alone: which of the two, and a link to each."""

    words: str
    links: list[Link]


def run_links(runs: Sequence[FinishedRun], numbers: Iterable[int]) -> list[Link]:
    """Name the runs of these numbers, long names cut.

    All runs are named in one word; a method's name stands for all its runs.
    """
    left = set(numbers)
    if len(left) == len(runs) > 1:
        return [Link("all runs", 0)]
    links: dict[int, Link] = {}
    for method, members in numbers_by_method(runs).items():
        if len(members) > 1 and left.issuperset(members):
            links[members[0]] = Link(_cut(method), members[0])
            left -= set(members)
    by_seed = group_pairs((run.seed, number) for number, run in enumerate(runs, start=1))
    for seed, members in by_seed.items():
        if len(members) > 1 and left.issuperset(members):
            links[members[0]] = Link(f"all of seed {_cut(seed)}", 0)
            left -= set(members)
    links |= {number: Link(_cut(short_name(runs[number - 1], runs)), number) for number in left}
    return [links[number] for number in sorted(links)]


def run_groups(runs: Sequence[FinishedRun], numbers: Iterable[int]) -> list[RunGroup]:
    """Name every one of these runs by its seed or fold, with the method where there are several."""
    chosen = set(numbers)
    groups: dict[tuple[str, str], list[Link]] = {}
    for method, members in numbers_by_method(runs).items():
        for number in sorted(chosen.intersection(members)):
            run = runs[number - 1]
            kind, name = "seed", run.seed
            if run.fold is not None:
                kind, name = f"seed {_cut(run.seed)}, fold", str(run.fold)
            groups.setdefault((method, kind), []).append(
                Link(_cut(name), number, short_name(run, runs))
            )
    several = len({method for method, _ in groups}) > 1
    return [
        RunGroup(f"{_cut(method)}: " * several + kind + "s" * (len(links) > 1), links)
        for (method, kind), links in groups.items()
    ]


def summarize_runs(runs: Sequence[FinishedRun]) -> str:
    """Say how many runs, methods and seeds there are, and of which study."""
    studies = list(dict.fromkeys(run.study for run in runs))
    study = f"Study {studies[0]}" if len(studies) == 1 else f"{len(studies)} studies"
    counts = (
        (len(runs), "run"),
        (len(numbers_by_method(runs)), "method"),
        (len({run.seed for run in runs}), "seed"),
    )
    return f"{study}: " + ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts)


def _cut(name: str) -> str:
    """Leave both ends of a long name, since those of sweeps differ at the end."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"
