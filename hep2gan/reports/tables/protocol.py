"""How the cells were dealt to training and test, as far as runs of a method differ in it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hep2gan.runs.finished import Run

_TOLD = ("kind", "group_duplicates", "fold", "seed")
"""Settings that have a place of their own, or that repetitions differ in."""


class Protocol(NamedTuple):
    """Kind of split, and whether identical cells stay together.

    settings: the others that tell runs of this kind apart, by name, with their values in words.
    """

    kind: str
    grouped: bool
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """For a table."""
        return ", ".join([self.kind, *self.details, *["identical cells together"] * self.grouped])

    @property
    def details(self) -> list[str]:
        """Its settings, each in words."""
        return [f"{name.replace('_', ' ')} {value}" for name, value in self.settings]

    def agrees(self, other: "Protocol") -> bool:
        """Whether every setting that both have has one value."""
        theirs = dict(other.settings)
        return all(theirs.get(name, value) == value for name, value in self.settings)


def protocols(runs: Sequence[Run]) -> list[Protocol]:
    """Return the protocol of each run of one method, with what runs of its kind differ in."""
    kinds = [str(run.split_settings.get("kind", "random")) for run in runs]
    found = []
    for run, kind in zip(runs, kinds, strict=True):
        alike = [one.split_settings for one, own in zip(runs, kinds, strict=True) if own == kind]
        names = sorted({str(name) for settings in alike for name in settings}.difference(_TOLD))
        telling = [name for name in names if len({_value(one, name) for one in alike}) > 1]
        settings = tuple((name, _value(run.split_settings, name)) for name in telling)
        grouped = bool(run.split_settings.get("group_duplicates"))
        found.append(Protocol(kind, grouped, settings))
    return found


def compared(found: Sequence[Protocol]) -> list[tuple[Protocol, Protocol]]:
    """Return which of them to hold against each other; the settings of both agree.

    Random against specimen and block, identical cells kept together or not in both; then each kind
    without them together against itself with them.
    """
    pairs = [
        (("random", grouped), (kind, grouped))
        for grouped in (False, True)
        for kind in ("specimen", "block")
    ]
    pairs += [((kind, False), (kind, True)) for kind in ("random", "specimen", "block")]
    return [
        (first, second)
        for one, other in pairs
        for first in found
        for second in found
        if (first[:2], second[:2]) == (one, other) and first.agrees(second)
    ]


def _value(settings: dict[str, Any], name: str) -> str:
    if name not in settings:
        return "by default"
    return "none" if settings[name] is None else str(settings[name])
