"""The effect of the split: methods that were run under several kinds of split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hep2gan.reports.naming import group_pairs, with_study, without_split
from hep2gan.reports.results import MethodResults, RunResult, Unit
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    ESTIMATED_MEASURES,
    Estimate,
    estimate_cell,
    interval_in_words,
    make_estimates,
    pair_results,
)
from hep2gan.reports.tables.table import (
    LEVEL,
    Cell,
    Part,
    Row,
    Table,
    Value,
    format_points,
    format_points_interval,
    interval_cell,
    method_cell,
    p_value,
    value_cell,
    verdict,
)
from hep2gan.runs.finished import FinishedRun
from hep2gan.statistics.methods import FEWEST_SEEDS, PairedDifference
from hep2gan.statistics.significance import holm

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

_NOT_PRINTED = ("kind", "group_duplicates", "fold", "seed")
"""Settings that have fields of their own, or that differ between repetitions."""


class Protocol(NamedTuple):
    """How cells are assigned to training and test.

    Attributes:
        kind: Kind of split.
        grouped: Whether identical cells stay in one part.
        settings: Other settings in which runs of this kind differ: names and values in words.
    """

    kind: str
    grouped: bool
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """Description for a table."""
        return ", ".join([self.kind, *self.details, *["identical cells together"] * self.grouped])

    @property
    def details(self) -> list[str]:
        """Its settings, each in words."""
        return [f"{name.replace('_', ' ')} {value}" for name, value in self.settings]


def distinct_protocols(runs: Sequence[FinishedRun]) -> list[Protocol]:
    """Determine the protocol of each run of one method, with the settings in which they differ.

    Args:
        runs: Runs of one method.

    Returns:
        Protocols in the same order.
    """
    kinds = [str(run.split_settings.get("kind", "random")) for run in runs]
    protocols = []
    for run, kind in zip(runs, kinds, strict=True):
        alike = [one.split_settings for one, own in zip(runs, kinds, strict=True) if own == kind]
        names = sorted(
            {str(name) for settings in alike for name in settings}.difference(_NOT_PRINTED)
        )
        differing = [name for name in names if len({_value(one, name) for one in alike}) > 1]
        settings = tuple((name, _value(run.split_settings, name)) for name in differing)
        grouped = run.split_settings.get("group_duplicates")
        together = kind in ("specimen", "block") if grouped is None else bool(grouped)
        protocols.append(Protocol(kind, together, settings))
    return protocols


def pair_protocols(protocols: Sequence[Protocol]) -> list[tuple[Protocol, Protocol]]:
    """Select the pairs of protocols to compare; their other settings agree.

    Random against specimen and block, identical cells kept together or not in both, or as it is
    where only one of these was run; then each kind without them together against itself with them.

    Args:
        protocols: Distinct protocols of one method.
    """
    run = {protocol[:2] for protocol in protocols}
    pairs = [
        (("random", grouped), (kind, grouped if (kind, grouped) in run else not grouped))
        for grouped in (False, True)
        for kind in ("specimen", "block")
        if (kind, grouped) in run or ("random", not grouped) not in run
    ]
    pairs += [((kind, False), (kind, True)) for kind in ("random", "specimen", "block")]
    return [
        (first, second)
        for one, other in pairs
        for first in protocols
        for second in protocols
        if (first[:2], second[:2]) == (one, other)
        and all(dict(second.settings).get(name, value) == value for name, value in first.settings)
    ]


def _value(settings: dict[str, Any], name: str) -> str:
    if name not in settings:
        return "by default"
    return "none" if settings[name] is None else str(settings[name])


class ProtocolRow(NamedTuple):
    """A method under one protocol.

    Attributes:
        method: Its runs under the protocol.
        protocol: The protocol.
        estimates: Its measures.
    """

    method: MethodResults
    protocol: Protocol
    estimates: dict[str, Estimate]


class Gap(NamedTuple):
    """Difference of a method between two protocols, on the same cells.

    Attributes:
        method: The method under the first protocol.
        other: The same method under the second protocol.
        first: The first protocol.
        second: The second protocol.
        cells: Number of cells tested under both.
        specimens: Number of specimens; 0 if unknown.
        unit: What intervals and p are over, beside seeds.
        differences: Differences of the measures, first less second.
        p_holm: p after Holm's correction over the table.
        problem: Why the difference is unknown, or empty.
    """

    method: MethodResults
    other: MethodResults
    first: Protocol
    second: Protocol
    cells: int
    specimens: int
    unit: Unit
    differences: dict[str, PairedDifference]
    p_holm: float = 1.0
    problem: str = ""

    @property
    def tested(self) -> bool:
        """Whether there is anything to test."""
        return not self.problem and self.differences["accuracy"].tested


def leakage_rows(results: Sequence[RunResult]) -> tuple[list[ProtocolRow], list[Gap]]:
    """Evaluate methods that were run under several protocols, and the differences of those.

    Differences are random less specimen and random less block, identical cells kept together or not
    in both, and for each kind: not together less together; other settings agree.

    Args:
        results: All runs of the report.
    """
    rows: list[ProtocolRow] = []
    gaps: list[Gap] = []
    for methods in _by_protocol(results):
        rows += [
            ProtocolRow(method, protocol, make_estimates(list(method.tests.values())))
            for protocol, method in methods.items()
        ]
        gaps += [_gap(methods, *pair) for pair in pair_protocols(list(methods))]
    corrected = iter(holm([gap.differences["accuracy"].p for gap in gaps if gap.tested]))
    return rows, [gap._replace(p_holm=next(corrected)) if gap.tested else gap for gap in gaps]


def _by_protocol(results: Sequence[RunResult]) -> list[dict[Protocol, MethodResults]]:
    """Group classifiers of one study and name by protocol; those with several protocols."""
    by_name = group_pairs(
        ((result.run.study, without_split(result.run.method)), result)
        for result in results
        if result.cells.predicted is not None
    )
    runs = [result.run for result in results]
    methods = []
    for key, own in by_name.items():
        protocols = distinct_protocols([one.run for one in own])
        groups = group_pairs(zip(protocols, own, strict=True))
        if len(groups) > 1:
            methods.append(
                {
                    one: MethodResults(*key, tuple(groups[one]), with_study(*key, runs))
                    for one in sorted(groups)
                }
            )
    return methods


def _gap(methods: Mapping[Protocol, MethodResults], first: Protocol, second: Protocol) -> Gap:
    both = (methods[first], methods[second])
    pairs = pair_results(*both, by_fold=False)
    if isinstance(pairs, str):
        return Gap(*both, first, second, 0, 0, "cell", {}, problem=pairs)
    counts = (len(pairs.each), pairs.each.specimens)
    return Gap(*both, first, second, *counts, pairs.unit, pairs.differences)


_MEASURES = ("accuracy", "mean_class_accuracy")
_NOTE = (
    "Intervals are at 95 %: t intervals between specimens, or between blocks or cells where "
    "specimens are unknown. Differences are on cells tested under both splits with the same "
    "seed, in percentage points. With several seeds their intervals and p are over seeds × "
    f"specimens; with fewer than {FEWEST_SEEDS} there is no verdict on the method, with one they "
    "are of these trainings alone. p is corrected by Holm over the table. Under a random split "
    "specimens are on both sides, under block those longer than its guard: only intervals under "
    "specimen are for new patients."
)
_PARTS = (Part(), Part("One split less another, on the same cells"))


@report_table("leakage", order=2)
def leakage_table(study: "Study") -> Table | None:
    """Build the table with a row for each method and split, then one for each difference.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without a method that was run under several splits.
    """
    rows, gaps = study.leakage
    findings = [
        (title, leakage_sentence(title, gaps))
        for title in dict.fromkeys(row.method.title for row in rows)
    ]
    lines = [*map(_protocol_row, rows), *map(_gap_row, gaps)]
    title = "What the split changes"
    return Table(title, lines, _PARTS, notes=(_NOTE,), findings=findings) if rows else None


def leakage_sentence(title: str, gaps: Sequence[Gap]) -> str:
    """State how much the random split inflates accuracy against specimens or blocks kept apart.

    Args:
        title: Title of the method.
        gaps: As from `leakage_rows`.
    """
    across = [
        gap for gap in gaps if gap.method.title == title and gap.first.kind != gap.second.kind
    ]
    known = [gap for gap in across if not gap.problem]
    if not known:
        why = across[0].problem if across else "it was not run under a random and another split"
        return f"how much a random split inflates accuracy is unknown: {why}."
    gap = next((gap for gap in known if gap.second.kind == "specimen"), known[0])
    accuracy = gap.differences["accuracy"]
    words = "inflates accuracy" if accuracy.estimate > 0 else "does not inflate accuracy"
    if gap.p_holm >= LEVEL:
        words = "is not shown to inflate accuracy"
    if not accuracy.of_methods:
        words += (
            f" of these {accuracy.seeds} seeds" if accuracy.seeds > 1 else " of these trainings"
        )
    words += " on synthetic cells" * gap.method.is_synthetic
    return (
        f"a random split{_bracketed(gap.first)} {words}: "
        f"{format_points(accuracy.estimate)} points against {gap.second.kind}s kept "
        f"apart{_bracketed(gap.second)} (95 %: {format_points_interval(accuracy.interval)} over "
        f"{_over(gap)}; {p_value(gap.p_holm)})."
    )


def _over(gap: Gap) -> str:
    several = gap.differences["accuracy"].seeds > 1
    return f"{'seeds × ' * several}{gap.unit}s"


def _bracketed(protocol: Protocol) -> str:
    return f" ({', '.join(protocol.details)})" if protocol.details else ""


def _protocol_row(row: ProtocolRow) -> Row:
    cells = row.method.cells
    fields = [
        Cell("Split", row.protocol.words, _values(row.protocol, None)),
        Cell("Tested on", row.method.cells_in_words, {"cells": len(cells)}),
        Cell("Specimens", cells.units_in_words, {"specimens": cells.specimens or None}),
    ]
    for measure in _MEASURES:
        found = row.estimates[measure]
        fields += [
            estimate_cell(measure, found),
            Cell("95 % interval", interval_in_words(found)),
        ]
    fields.append(Cell(values=dict.fromkeys(("p", "p_holm", "problem"))))
    return Row(
        [method_cell(row.method)._replace(text=row.method.name)],
        [fields],
        label=f"{row.method.title} ({row.protocol.words})",
    )


def _gap_row(gap: Gap) -> Row:
    fields = [
        Cell("Split", gap.first.words, _values(gap.first, gap.second), runs=gap.method.runs),
        Cell("less split", gap.second.words, runs=gap.other.runs),
        value_cell("Same cells", "cells", gap.cells, "{:,}".format),
        Cell(values={"specimens": gap.specimens or None}),
    ]
    for measure in _MEASURES:
        found = gap.differences.get(measure)
        estimate, ends = (found.estimate, found.interval) if found else (None, None)
        fields += [
            value_cell(ESTIMATED_MEASURES[measure], measure, estimate, format_points),
            interval_cell("95 % interval", f"{measure}_{gap.unit}s", ends, format_points_interval),
        ]
    accuracy = gap.differences.get("accuracy")
    p, p_holm = (accuracy.p, gap.p_holm) if accuracy else (None, None)
    fields.append(
        Cell(
            "Verdict on accuracy",
            _verdict(gap, accuracy) if accuracy else gap.problem,
            {"p": p, "p_holm": p_holm, "problem": gap.problem or None},
        )
    )
    sides = sorted([(gap.first, gap.method.runs), (gap.second, gap.other.runs)])
    return Row(
        [method_cell(gap.method)._replace(text=gap.method.name, runs=())],
        [(), fields],
        runs=[run for _, own in sides for run in own],
    )


def _verdict(gap: Gap, accuracy: PairedDifference) -> str:
    folded = any(result.run.fold is not None for result in gap.method.results)
    return verdict(accuracy, gap.p_holm, folded=folded)


def _values(first: Protocol, second: Protocol | None) -> dict[str, Value]:
    return {
        "split": first.kind,
        "group_duplicates": first.grouped,
        "split_settings": _settings(first),
        "less_split": second and second.kind,
        "less_group_duplicates": second and second.grouped,
        "less_split_settings": second and _settings(second),
    }


def _settings(protocol: Protocol) -> str | None:
    return ";".join(f"{name}={value}" for name, value in protocol.settings) or None
