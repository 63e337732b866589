"""How much a split flatters: one method under several kinds of split, on the same cells."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.reports.results import Method, Result, with_study, without_split
from hep2gan.reports.tables.estimates import Estimate, differences, estimates
from hep2gan.reports.tables.notation import LEVEL
from hep2gan.reports.tables.pairs import Pairs, paired
from hep2gan.reports.tables.protocol import Protocol, compared, protocols
from hep2gan.statistics.bootstrap import Bootstrapped
from hep2gan.statistics.significance import holm


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


def leakage(results: Sequence[Result]) -> tuple[list[ProtocolRow], list[Gap]]:
    """Return rows of the methods that were run under several protocols, and what those differ by.

    Differences are random less specimen and random less block, identical cells kept together or
    not in both, and for each kind: not together less together; other settings agree.
    """
    rows: list[ProtocolRow] = []
    gaps: list[Gap] = []
    for found in _by_protocol(results):
        rows += [
            ProtocolRow(method, protocol, estimates(list(method.tests.values())))
            for protocol, method in found.items()
        ]
        gaps += [_gap(found, first, second) for first, second in compared(list(found))]
    corrected = iter(holm([gap.p for gap in gaps if not gap.problem]))
    return rows, [gap if gap.problem else gap._replace(p_holm=next(corrected)) for gap in gaps]


def _by_protocol(results: Sequence[Result]) -> list[dict[Protocol, Method]]:
    """Gather classifiers of one study and name, whatever their split; those with several."""
    named: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.cells.predicted is not None:
            key = (result.run.study, without_split(result.run.method))
            named.setdefault(key, []).append(result)
    runs = [result.run for result in results]
    found = []
    for key, own in named.items():
        groups: dict[Protocol, list[Result]] = {}
        for result, protocol in zip(own, protocols([one.run for one in own]), strict=True):
            groups.setdefault(protocol, []).append(result)
        if len(groups) > 1:
            title = with_study(*key, runs)
            found.append({one: Method(*key, tuple(groups[one]), title) for one in sorted(groups)})
    return found


def _gap(found: dict[Protocol, Method], first: Protocol, second: Protocol) -> Gap:
    pairs = paired(found[first], found[second], by_fold=False)
    if isinstance(pairs, str):
        return Gap(found[first], first, second, 0, 0, {}, 1.0, problem=pairs)
    gained = differences(pairs, specimens=bool(pairs.specimens))
    return Gap(found[first], first, second, pairs.cells, pairs.specimens, gained, _p(pairs))


def _p(pairs: Pairs) -> float:
    p = pairs.p_specimens()
    return pairs.p_cells() if p is None else p
