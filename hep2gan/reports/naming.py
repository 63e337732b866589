"""Runs by name: as short as they are distinct, and many of them in one word."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hep2gan.reports.results import MethodResults, with_study, without_fold
from hep2gan.runs.finished import FinishedRun

_LONGEST = 60


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


def short_name(run: FinishedRun, runs: Sequence[FinishedRun]) -> str:
    """Return method and seed; with the study, where `runs` are of several."""
    return f"{with_study(run.study, run.method, runs)}/seed{run.seed}"


def numbers_by_method(runs: Sequence[FinishedRun]) -> dict[str, list[int]]:
    """Return each method by its name, the folds of a sweep as one, and its runs' numbers."""
    found: dict[str, list[int]] = {}
    for number, run in enumerate(runs, start=1):
        found.setdefault(with_study(run.study, without_fold(run.method), runs), []).append(number)
    return found


def run_links(runs: Sequence[FinishedRun], numbers: Iterable[int]) -> list[Link]:
    """Name the runs of these numbers, long names cut.

    All runs are named in one word; a method's name stands for all its runs.
    """
    left = set(numbers)
    if len(left) == len(runs) > 1:
        return [Link("all runs", 0)]
    found: dict[int, Link] = {}
    for method, members in numbers_by_method(runs).items():
        if len(members) > 1 and left.issuperset(members):
            found[members[0]] = Link(_cut(method), members[0])
            left -= set(members)
    for seed, members in _seeds(runs).items():
        if len(members) > 1 and left.issuperset(members):
            found[members[0]] = Link(f"all of seed {_cut(seed)}", 0)
            left -= set(members)
    found |= {number: Link(_cut(short_name(runs[number - 1], runs)), number) for number in left}
    return [found[number] for number in sorted(found)]


def numbers_of(method: MethodResults, runs: Sequence[FinishedRun]) -> list[int]:
    """Return the numbers, from 1, that a method's runs have among `runs`."""
    own = [result.run for result in method.results]
    return [number for number, run in enumerate(runs, 1) if any(run is one for one in own)]


def run_groups(runs: Sequence[FinishedRun], numbers: Iterable[int]) -> list[RunGroup]:
    """Name every one of these runs by its seed or fold, with the method where there are several."""
    chosen = set(numbers)
    found: dict[tuple[str, str], list[Link]] = {}
    for method, members in numbers_by_method(runs).items():
        for number in members:
            if number in chosen:
                run = runs[number - 1]
                of, name = ("seed", run.seed)
                if run.fold is not None:
                    of, name = f"seed {_cut(run.seed)}, fold", str(run.fold)
                link = Link(_cut(name), number, short_name(run, runs))
                found.setdefault((method, of), []).append(link)
    several = len({method for method, _ in found}) > 1
    return [
        RunGroup(f"{_cut(method)}: " * several + of + "s" * (len(own) > 1), own)
        for (method, of), own in found.items()
    ]


def summarize_runs(runs: Sequence[FinishedRun]) -> str:
    """Say how many runs, methods and seeds there are, and of which study."""
    studies = list(dict.fromkeys(run.study for run in runs))
    study = f"Study {studies[0]}" if len(studies) == 1 else f"{len(studies)} studies"
    counts = (
        (len(runs), "run"),
        (len(numbers_by_method(runs)), "method"),
        (len(_seeds(runs)), "seed"),
    )
    return f"{study}: " + ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts)


def _cut(name: str) -> str:
    """Leave both ends of a long name, since those of sweeps differ at the end."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def _seeds(runs: Sequence[FinishedRun]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, run in enumerate(runs, start=1):
        found.setdefault(run.seed, []).append(number)
    return found
