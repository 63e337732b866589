"""The leakage table as Markdown and CSV."""

from collections.abc import Sequence

from hep2gan.reports.results import Method
from hep2gan.reports.tables.estimates import MEASURES
from hep2gan.reports.tables.framing import below, identity
from hep2gan.reports.tables.leakage_table import Gap, ProtocolRow
from hep2gan.reports.tables.markup import (
    Named,
    TextTable,
    Value,
    code,
    csv_table,
    markdown_table,
    paths,
)
from hep2gan.reports.tables.notation import (
    ABSENT,
    mean_sd,
    p_value,
    points,
    points_span,
    span,
    verdict,
)
from hep2gan.reports.tables.protocol import Protocol
from hep2gan.reports.tables.table_1_csv import ends, estimate

_SHOWN = ("accuracy", "mean_class_accuracy")
_FIGURES = [column for m in _SHOWN for column in (MEASURES[m], "95 % interval")]
NOTE = (
    "Intervals are at 95 %, BCa bootstrap over whole specimens (over cells where specimens are "
    "unknown). Differences are on cells tested under both splits with the same seed, in percentage "
    "points; p of the accuracy is by sign flips of specimens (McNemar's where they are unknown), "
    "corrected by Holm over the table."
)


def leakage_markdown(rows: Sequence[ProtocolRow], gaps: Sequence[Gap]) -> str:
    """A sentence a method, accuracies under each split, differences, and the runs."""
    parts = ["# What the split flatters\n"]
    parts += ["\n".join(f"- {one}" for one in sentences(rows, gaps, code)) + "\n"]
    parts.append(markdown_table(*protocol_table(rows, code)))
    if gaps:
        parts.append(markdown_table(*gap_table(gaps, code)))
    runs = {f"{row.method.title} ({row.protocol.words})": row.method.runs for row in rows}
    return "\n".join([*parts, *below(NOTE, [row.method for row in rows], runs)])


def protocol_table(rows: Sequence[ProtocolRow], named: Named = str) -> TextTable:
    """A line a method and split."""
    header = ["Method", "Split", "Tested on", "Specimens", *_FIGURES]
    return TextTable(header, [_shown(row, named) for row in rows])


def gap_table(gaps: Sequence[Gap], named: Named = str) -> TextTable:
    """A line a difference of two splits."""
    header = ["Method", "Split", "less split", "Same cells", *_FIGURES, "Accuracy"]
    return TextTable(header, [_shown_gap(gap, named) for gap in gaps])


def sentences(rows: Sequence[ProtocolRow], gaps: Sequence[Gap], named: Named = str) -> list[str]:
    """Say of each method how much the random split flatters."""
    titles = dict.fromkeys(row.method.title for row in rows)
    return [f"{named(title)}: {sentence(title, gaps)}" for title in titles]


def sentence(title: str, gaps: Sequence[Gap]) -> str:
    """Say how much the random split flatters: against specimens, else blocks kept apart."""
    own = [gap for gap in gaps if gap.method.title == title]
    across = [gap for gap in own if gap.first.kind != gap.second.kind]
    known = [gap for gap in across if not gap.problem]
    if not known:
        why = across[0].problem if across else "it was not run under a random and another split"
        return f"how much a random split flatters cannot be said: {why}."
    gap = next((gap for gap in known if gap.second.kind == "specimen"), known[0])
    found = gap.differences["accuracy"]
    size = f"{points(found.estimate)} points of accuracy against {gap.second.kind}s kept apart"
    size += _bracketed(gap.second)
    over = f"95 %: {points_span(found.interval)} over {'specimens' if gap.specimens else 'cells'}"
    words = "flatters" if found.estimate > 0 else "does not flatter"
    if not gap.significant:
        words = "flatters by no more than noise"
    drawn = " on drawn cells" if gap.method.drawn else ""
    split = f"a random split{_bracketed(gap.first)}"
    return f"{split} {words}{drawn}: {size} ({over}; {p_value(gap.p_holm)})."


def _bracketed(protocol: Protocol) -> str:
    return f" ({', '.join(protocol.details)})" if protocol.details else ""


def leakage_csv(rows: Sequence[ProtocolRow], gaps: Sequence[Gap]) -> str:
    """A line a protocol, then a line a difference, whose `less_…` columns are filled."""
    lines = [
        _line(row.method, row.protocol, None)
        | {"cells": len(row.method.cells), "specimens": row.method.cells.specimens or None}
        | {k: v for m in _SHOWN for k, v in estimate(m, row.estimates[m]).items()}
        | {"p": None, "p_holm": None, "problem": None, "run_paths": paths(row.method.runs)}
        for row in rows
    ]
    return csv_table(lines + [_gap_line(gap, rows) for gap in gaps])


def _line(method: Method, first: Protocol, second: Protocol | None) -> dict[str, Value]:
    return identity(method) | {
        "split": first.kind,
        "group_duplicates": first.grouped,
        "split_settings": _settings(first),
        "less_split": second and second.kind,
        "less_group_duplicates": second and second.grouped,
        "less_split_settings": second and _settings(second),
    }


def _settings(protocol: Protocol) -> str | None:
    return ";".join(f"{name}={value}" for name, value in protocol.settings) or None


def _gap_line(gap: Gap, rows: Sequence[ProtocolRow]) -> dict[str, Value]:
    line = _line(gap.method, gap.first, gap.second)
    line |= {"cells": gap.cells, "specimens": gap.specimens or None}
    over = "specimens" if gap.specimens else "cells"
    for measure in _SHOWN:
        found = gap.differences.get(measure)
        line |= {measure: found and found.estimate}
        line |= ends(f"{measure}_{over}", found and found.interval)
    line |= {"p": None if gap.problem else gap.p, "p_holm": None if gap.problem else gap.p_holm}
    own = [
        run
        for row in rows
        if row.method.title == gap.method.title and row.protocol in (gap.first, gap.second)
        for run in row.method.runs
    ]
    return line | {"problem": gap.problem or None, "run_paths": paths(own)}


def _shown(row: ProtocolRow, named: Named) -> list[str]:
    cells = row.method.cells
    fields = [named(row.method.name), row.protocol.words, row.method.cells_in_words]
    fields.append(str(cells.specimens or "unknown"))
    for measure in _SHOWN:
        found = row.estimates[measure]
        fields += [mean_sd(found.mean, found.sd), span(found.interval)]
    return fields


def _shown_gap(gap: Gap, named: Named) -> list[str]:
    fields = [named(gap.method.name), gap.first.words, gap.second.words, f"{gap.cells:,}"]
    if gap.problem:
        return [*fields, *[ABSENT] * 4, gap.problem]
    for measure in _SHOWN:
        found = gap.differences[measure]
        fields += [points(found.estimate), points_span(found.interval)]
    return [*fields, verdict(gap.p_holm)]
