"""Leakage, priors and folds as the HTML report prints them."""

from collections.abc import Sequence

from hep2gan.reports.naming import numbers_of
from hep2gan.reports.page.parts import Cell, HtmlRow, HtmlTable, PagePart, Part
from hep2gan.reports.results import Method
from hep2gan.reports.study import Study
from hep2gan.reports.tables import baselines, folds_text, leakage_text
from hep2gan.reports.tables.framing import DRAWN
from hep2gan.reports.tables.markup import Named, TextTable
from hep2gan.runs.finished import Run


def table_parts(study: Study) -> list[PagePart]:
    """Return a part a kind of table that the runs make, beside Table I."""
    named = short_names(study)
    return [*_leakage(study, named), *_priors(study, named), *_folds(study, named)]


def short_names(study: Study) -> Named:
    """Leave the study out of a method's title, where there is only one."""
    prefixes = {f"{method.study}/" for method in study.methods}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return lambda title: title.removeprefix(prefix)


def _leakage(study: Study, named: Named) -> list[PagePart]:
    rows, gaps = study.tables.protocols, study.tables.gaps
    if not rows:
        return []
    own = [row.method for row in rows]
    notes = notes_of(leakage_text.NOTE, own)
    table = leakage_text.protocol_table(rows, named)
    tables = [printed(table, study.runs, own, "", () if gaps else notes)]
    if gaps:
        tables.append(_gaps(study, named, notes))
    points = [Cell(sentence) for sentence in leakage_text.sentences(rows, gaps, named)]
    return [PagePart(Part.TABLES, "What the split flatters", points=points, tables=tables)]


def _gaps(study: Study, named: Named, notes: Sequence[str]) -> HtmlTable:
    """Each of two splits leads to the runs under it."""
    gaps = study.tables.gaps
    found = {(row.method.title, row.protocol): row.method for row in study.tables.protocols}
    header, lines = leakage_text.gap_table(gaps, named)
    rows = []
    for gap, (head, first, second, *fields) in zip(gaps, lines, strict=True):
        cells = [
            Cell(words, numbers_of(found[gap.method.title, protocol], study.runs))
            for words, protocol in ((first, gap.first), (second, gap.second))
        ]
        rows.append(HtmlRow(Cell(head), [*cells, *map(Cell, fields)]))
    note = "One split less another, on the same cells."
    return HtmlTable(header[0], header[1:], rows, note, notes)


def _priors(study: Study, named: Named) -> list[PagePart]:
    if not (rows := study.tables.priors):
        return []
    own = [row.method for row in rows]
    notes = notes_of(baselines.NOTE, own)
    table = printed(baselines.measure_table(rows, named), study.runs, own, "", notes)
    return [PagePart(Part.TABLES, "Masks beside trivial priors", tables=[table])]


def _folds(study: Study, named: Named) -> list[PagePart]:
    if not (rows := study.tables.folds):
        return []
    own = [row.method for row in rows]
    spread, pooled = folds_text.spread_table(rows, named), folds_text.pooled_table(rows, named)
    notes = notes_of(folds_text.NOTE, own)
    tables = [
        printed(spread, study.runs, own, "Over the folds.", ()),
        printed(pooled, study.runs, own, "All folds as one test set.", notes),
    ]
    return [PagePart(Part.TABLES, "Cross-validation", tables=tables)]


def notes_of(note: str, methods: Sequence[Method]) -> list[str]:
    """Return a table's note, and what drawn cells are worth where there are any."""
    return [note, *([DRAWN] if any(method.drawn for method in methods) else [])]


def printed(
    table: TextTable,
    runs: Sequence[Run],
    methods: Sequence[Method],
    note: str,
    notes: Sequence[str],
) -> HtmlTable:
    """Print a table whose rows are about these methods, and lead to all runs of theirs."""
    rows = [
        HtmlRow(Cell(head, numbers_of(method, runs)), list(map(Cell, fields)))
        for (head, *fields), method in zip(table.rows, methods, strict=True)
    ]
    return HtmlTable(table.header[0], table.header[1:], rows, note, notes)
