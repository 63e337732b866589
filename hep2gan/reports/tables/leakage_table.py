"""How much a split flatters: one method under several kinds of split, on the same cells."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from hep2gan.reports.methods import Method, Result, with_study, without_split
from hep2gan.reports.tables.estimates import Estimate, differences, estimates
from hep2gan.reports.tables.notation import LEVEL
from hep2gan.reports.tables.pairs import Pairs, paired
from hep2gan.statistics.bootstrap import Bootstrapped
from hep2gan.statistics.paired import holm


class Protocol(NamedTuple):
    """How the cells were dealt: kind of split, and whether identical cells stay together."""

    kind: str
    grouped: bool

    @property
    def words(self) -> str:
        """For a table."""
        return f"{self.kind}{', identical cells together' if self.grouped else ''}"


class ProtocolRow(NamedTuple):
    """A method under one protocol: accuracy, mean class accuracy and the rest."""

    method: Method
    protocol: Protocol
    estimates: dict[str, Estimate]


class Gap(NamedTuple):
    """What one protocol gives a method over another, on the same cells, or why that is unknown."""

    method: Method
    first: Protocol
    second: Protocol
    cells: int
    specimens: int
    """What intervals and p are over; 0 where unknown, then they are over cells."""
    differences: dict[str, Bootstrapped]
    p: float
    """Of the accuracy: sign flips by specimen, or McNemar's where specimens are unknown."""
    p_holm: float = 1.0
    problem: str = ""

    @property
    def significant(self) -> bool:
        """Whether the accuracy differs by more than noise, corrected over the table."""
        return self.p_holm < LEVEL


_KINDS = ("specimen", "block")


def leakage(results: Sequence[Result]) -> tuple[list[ProtocolRow], list[Gap]]:
    """Return rows of the methods that were run under several protocols, and what those differ by.

    Differences are random less specimen and random less block, identical cells kept together or
    not in both, and for each kind: not together less together.
    """
    rows: list[ProtocolRow] = []
    gaps: list[Gap] = []
    for found in _by_protocol(results):
        rows += [
            ProtocolRow(method, protocol, estimates(list(method.tests.values())))
            for protocol, method in found.items()
        ]
        gaps += [
            _gap(found, first, second)
            for first, second in _compared()
            if first in found and second in found
        ]
    corrected = iter(holm([gap.p for gap in gaps if not gap.problem]))
    return rows, [gap if gap.problem else gap._replace(p_holm=next(corrected)) for gap in gaps]


def _by_protocol(results: Sequence[Result]) -> list[dict[Protocol, Method]]:
    """Gather classifiers of one study and name, whatever their split; those with several."""
    found: dict[tuple[str, str], dict[Protocol, list[Result]]] = {}
    for result in results:
        if result.cells.predicted is not None:
            settings = result.run.split_settings
            kind = str(settings.get("kind", "random"))
            protocol = Protocol(kind, bool(settings.get("group_duplicates")))
            key = (result.run.study, without_split(result.run.method))
            found.setdefault(key, {}).setdefault(protocol, []).append(result)
    runs = [result.run for result in results]
    return [
        {
            protocol: Method(*key, tuple(group), with_study(*key, runs))
            for protocol, group in sorted(protocols.items())
        }
        for key, protocols in found.items()
        if len(protocols) > 1
    ]


def _compared() -> list[tuple[Protocol, Protocol]]:
    across = [
        (Protocol("random", grouped), Protocol(kind, grouped))
        for grouped, kind in product((False, True), _KINDS)
    ]
    kinds = ("random", *_KINDS)
    return across + [(Protocol(kind, False), Protocol(kind, True)) for kind in kinds]


def _gap(found: dict[Protocol, Method], first: Protocol, second: Protocol) -> Gap:
    pairs = paired(found[first], found[second], by_fold=False)
    if isinstance(pairs, str):
        return Gap(found[first], first, second, 0, 0, {}, 1.0, problem=pairs)
    gained = differences(pairs, specimens=bool(pairs.specimens))
    return Gap(found[first], first, second, pairs.cells, pairs.specimens, gained, _p(pairs))


def _p(pairs: Pairs) -> float:
    p = pairs.p_specimens()
    return pairs.p_cells() if p is None else p
