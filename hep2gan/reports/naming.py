"""Short but distinct names of runs and methods, and of groups of them."""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from hep2gan.runs.finished import FinishedRun

_LONGEST = 60


Key = TypeVar("Key", bound=Hashable)
Member = TypeVar("Member")


def group_pairs(pairs: Iterable[tuple[Key, Member]]) -> dict[Key, list[Member]]:
    """Group the members of pairs by their key; keys and members stay in order.

    Args:
        pairs: Pairs of key and member.
    """
    groups: dict[Key, list[Member]] = {}
    for key, member in pairs:
        groups.setdefault(key, []).append(member)
    return groups


def with_study(study: str, name: str, runs: Sequence[FinishedRun]) -> str:
    """Prefix a name with its study if there are runs of several studies.

    Args:
        study: Name of the study.
        name: Name of a method in it.
        runs: All runs of the report.
    """
    return f"{study}/{name}" if any(run.study != runs[0].study for run in runs) else name


def without_fold(name: str) -> str:
    """Remove the fold, which a sweep adds, from the name of a method.

    Args:
        name: Name of the method.
    """
    return re.sub(r",split\.fold=\d+", "", name)


def without_split(name: str) -> str:
    """Remove all settings of the split, which a sweep adds, from the name of a method.

    Args:
        name: Name of the method.

    Examples:
        >>> without_split("proposed,split=specimen,loss.beta=5,split.fold=0")
        'proposed,loss.beta=5'
    """
    return re.sub(r",split(\.\w+)?=[^,]*", "", name)


def seed_order(seed: str) -> tuple[bool, int, str]:
    """Return the sort key of a seed: numbers in numerical order, then all others.

    Args:
        seed: The seed, as text.
    """
    return (False, int(seed), "") if seed.isdecimal() else (True, 0, seed)


def short_name(run: FinishedRun, runs: Sequence[FinishedRun]) -> str:
    """Name a run by method and seed, and by its study if there are several.

    Args:
        run: The run.
        runs: All runs of the report.
    """
    return f"{with_study(run.study, run.method, runs)}/seed{run.seed}"


def numbers_by_method(runs: Sequence[FinishedRun]) -> dict[str, list[int]]:
    """Group the numbers of runs by method; the folds of a sweep are one method.

    Args:
        runs: All runs of the report. The number of a run is its place among them, from 1.

    Returns:
        Numbers by title of the method.
    """
    return group_pairs(
        (with_study(run.study, without_fold(run.method), runs), number)
        for number, run in enumerate(runs, start=1)
    )


class Link(NamedTuple):
    """A name that may link to a run.

    Attributes:
        name: The name, possibly cut.
        run: Number of the run from 1; 0 for no link.
        title: The whole name, if `name` is a part of it.
    """

    name: str
    run: int
    title: str = ""


class RunGroup(NamedTuple):
    """Runs that differ only in seed or fold.

    Attributes:
        words: "seed" or "fold", in the plural for several, after the method if needed.
        links: A link to each run.
    """

    words: str
    links: list[Link]


def run_links(runs: Sequence[FinishedRun], numbers: Iterable[int]) -> list[Link]:
    """Name runs briefly.

    All runs of the report are named together, as are all runs of a method and all of a seed. Long
    names are cut.

    Args:
        runs: All runs of the report.
        numbers: Numbers of the runs to name, from 1.
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
    """Name each run by its seed or fold, with the method if there are several.

    Args:
        runs: All runs of the report.
        numbers: Numbers of the runs to name, from 1.
    """
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
    """State the number of runs, methods and seeds, and the study.

    Args:
        runs: All runs of the report.
    """
    studies = list(dict.fromkeys(run.study for run in runs))
    study = f"Study {studies[0]}" if len(studies) == 1 else f"{len(studies)} studies"
    counts = (
        (len(runs), "run"),
        (len(numbers_by_method(runs)), "method"),
        (len({run.seed for run in runs}), "seed"),
    )
    return f"{study}: " + ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts)


def _cut(name: str) -> str:
    """Keep both ends of a long name, since names of sweeps differ at the end."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"
