"""Leakage, priors and folds as the HTML report prints them."""

from collections.abc import Sequence

from hep2gan.reports.methods import Method
from hep2gan.reports.page.parts import Cell, HtmlRow, HtmlTable, PagePart, Part
from hep2gan.reports.study import Study
from hep2gan.reports.tables import folds_text, leakage_text, priors_table
from hep2gan.reports.tables.framing import DRAWN
from hep2gan.reports.tables.markup import Named, TextTable


def table_parts(study: Study) -> list[PagePart]:
    """Return a part a kind of table that the runs make, beside Table I."""
    named = _short_names(study)
    return [*_leakage(study, named), *_priors(study, named), *_folds(study, named)]


def _short_names(study: Study) -> Named:
    """Leave the study out of a method's title, where there is only one."""
    prefixes = {f"{method.study}/" for method in study.methods}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return lambda title: title.removeprefix(prefix)


def _leakage(study: Study, named: Named) -> list[PagePart]:
    rows, gaps = study.tables.protocols, study.tables.gaps
    if not rows:
        return []
    notes = _notes(leakage_text.NOTE, [row.method for row in rows])
    tables = [_printed(leakage_text.protocol_table(rows, named), "", () if gaps else notes)]
    if gaps:
        head = "One split less another, on the same cells."
        tables.append(_printed(leakage_text.gap_table(gaps, named), head, notes))
    points = [Cell(sentence) for sentence in leakage_text.sentences(rows, gaps, named)]
    return [PagePart(Part.TABLES, "What the split flatters", points=points, tables=tables)]


def _priors(study: Study, named: Named) -> list[PagePart]:
    if not (rows := study.tables.priors):
        return []
    notes = _notes(priors_table.NOTE, [row.method for row in rows])
    table = _printed(priors_table.measure_table(rows, named), "", notes)
    return [PagePart(Part.TABLES, "Masks beside trivial priors", tables=[table])]


def _folds(study: Study, named: Named) -> list[PagePart]:
    if not (rows := study.tables.folds):
        return []
    notes = _notes(folds_text.NOTE, [row.method for row in rows])
    spread = _printed(folds_text.spread_table(rows, named), "Over the folds.", ())
    pooled = _printed(folds_text.pooled_table(rows, named), "All folds as one test set.", notes)
    return [PagePart(Part.TABLES, "Cross-validation", tables=[spread, pooled])]


def _notes(note: str, methods: Sequence[Method]) -> list[str]:
    return [note, *([DRAWN] if any(method.drawn for method in methods) else [])]


def _printed(table: TextTable, note: str, notes: Sequence[str]) -> HtmlTable:
    rows = [HtmlRow(Cell(row[0]), [Cell(field) for field in row[1:]]) for row in table.rows]
    return HtmlTable(table.header[0], table.header[1:], rows, note, notes)
