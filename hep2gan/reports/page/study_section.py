"""Leakage, priors and folds as the HTML report prints them."""

from collections.abc import Sequence
from statistics import fmean

from hep2gan.reports.naming import numbers_of, short_name
from hep2gan.reports.page.elements import Cell, HtmlRow, HtmlTable, PagePart, Part
from hep2gan.reports.page.run_section import Difference, Findings, differences, shared
from hep2gan.reports.published import PublishedRow
from hep2gan.reports.results import Method
from hep2gan.reports.study import Study
from hep2gan.reports.tables import baselines, folds, leakage
from hep2gan.reports.tables.classes import NOTE, ClassRow, class_table
from hep2gan.reports.tables.table import (
    ABSENT,
    DRAWN,
    Named,
    TextTable,
    hundredths,
    mean_sd,
    points,
    span,
)
from hep2gan.reports.tables.table_1 import NOTES, Comparison, Row
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
    notes = notes_of(leakage.NOTE, own)
    table = leakage.protocol_table(rows, named)
    tables = [printed(table, study.runs, own, "", () if gaps else notes)]
    if gaps:
        tables.append(_gaps(study, named, notes))
    points = [Cell(sentence) for sentence in leakage.sentences(rows, gaps, named)]
    return [PagePart(Part.TABLES, "What the split flatters", points=points, tables=tables)]


def _gaps(study: Study, named: Named, notes: Sequence[str]) -> HtmlTable:
    """Each of two splits leads to the runs under it."""
    gaps = study.tables.gaps
    found = {(row.method.title, row.protocol): row.method for row in study.tables.protocols}
    header, lines = leakage.gap_table(gaps, named)
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
    spread, pooled = folds.spread_table(rows, named), folds.pooled_table(rows, named)
    notes = notes_of(folds.NOTE, own)
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


def class_parts(study: Study) -> list[PagePart]:
    """Return the part, where any method classifies: the hardest class, and the table folded."""
    rows, named = study.tables.classes, short_names(study)
    if not rows:
        return []
    own = [row.method for row in rows]
    table = printed(class_table(rows, named), study.runs, own, "", notes_of(NOTE, own))
    classes, methods = len({row.name for row in rows}), len({method.title for method in own})
    folded = f"{classes} classes by {methods} method{'s' * (methods > 1)}"
    return [
        PagePart(Part.TABLES, "Class by class", text=_hardest(rows), tables=[table], folded=folded)
    ]


def _hardest(rows: Sequence[ClassRow]) -> list[str]:
    """Say which class has the lowest recall, on average over methods, and how far those differ."""
    recalls: dict[str, dict[str, float]] = {}
    for row in rows:
        if "recall" in row.scores:
            recalls.setdefault(row.name, {})[row.method.title] = row.scores["recall"].mean
    if not recalls:
        return []
    name = min(recalls, key=lambda name: fmean(recalls[name].values()))
    own = recalls[name]
    low, high = min(own, key=lambda title: own[title]), max(own, key=lambda title: own[title])
    share = f"{hundredths(own[low])} % of its cells"
    if own[low] < own[high]:
        share = f"from {share} ({low}) to {hundredths(own[high])} % ({high})"
    return [f"{name} is read right least often: {share}."]


COLUMNS = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Dice": "dice",
    "Jaccard": "jaccard",
}
"""Table I's columns, and the two of section III-C, with their names in metrics.json."""


def page_rows(rows: Sequence[Row], runs: Sequence[Run]) -> list[HtmlRow]:
    """Return a row a run, then its method's mean, the paper's row, and how the method compares.

    Folds have no rows of their own: they are one test set in parts.
    """
    printed = []
    for row in rows:
        numbers = numbers_of(row.method, runs)
        if not _folded(row.method):
            for number in numbers:
                run = runs[number - 1]
                printed.append(_run_row(run, number, short_name(run, runs)))
        if len(numbers) > 1 or _folded(row.method):
            printed.append(_mean_row(row, numbers))
        if (paper := row.method.published) is not None:
            printed.append(_paper_row(paper))
        if row.compared:
            own = Cell(_words(row.comparison, runs), _compared(row, runs))
            printed.append(HtmlRow(own, (), "comparison"))
    return printed


def _compared(row: Row, runs: Sequence[Run]) -> list[int]:
    """The numbers of the runs that a comparison is of."""
    if isinstance(row.comparison, str):
        return []
    return [*numbers_of(row.method, runs), *numbers_of(row.comparison.other, runs)]


def _folded(method: Method) -> bool:
    return any(result.run.fold is not None for result in method.results)


def _run_row(run: Run, number: int, name: str) -> HtmlRow:
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    known = low is not None and high is not None
    cells = [
        Cell(
            hundredths(run.metrics.get(f"test/{key}")),
            (number,),
            f"{hundredths(low)}–{hundredths(high)}" if key == "accuracy" and known else "",
        )
        for key in COLUMNS.values()
    ]
    return HtmlRow(Cell(name, (number,)), cells, "run")


def _mean_row(row: Row, numbers: Sequence[int]) -> HtmlRow:
    """The method over its seeds; the interval is over specimens where they are known."""
    cells = []
    for key in COLUMNS.values():
        found = row.estimates.get(key)
        note = span(found.interval) if found and key == "accuracy" else ""
        cells.append(Cell(mean_sd(found.mean, found.sd) if found else ABSENT, (), note))
    name = f"{row.method.title}, {_what(row.method)}"
    return HtmlRow(Cell(name, numbers), cells, "mean")


def _what(method: Method) -> str:
    runs, seeds = len(method.results), len(method.tests)
    word = ("folds" if runs > 1 else "fold") if _folded(method) else "runs"
    if seeds == 1:
        return f"{'all ' if word == 'runs' else ''}{runs} {word} of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} {word}'}"


def _paper_row(paper: PublishedRow) -> HtmlRow:
    cells = [Cell(hundredths(paper.metrics.get(f"test/{key}"))) for key in COLUMNS.values()]
    return HtmlRow(Cell(f"Paper: {paper.name}"), cells, "paper")


def _words(comparison: Comparison | str, runs: Sequence[Run]) -> str:
    if isinstance(comparison, str):
        return f"Against {comparison}"
    return (
        f"Against {comparison.other.title}: "
        f"{points(comparison.over_cells.estimate)} points of accuracy, "
        f"{points(comparison.mean_class_accuracy.estimate)} of mean class accuracy, on "
        f"{comparison.cells:,} same cells ({comparison.only_here} right here alone, "
        f"{comparison.only_there} there alone), {comparison.verdict}"
    )


_TOLD_BY_NAMES = ("study", "name", "method", "seed", "split.fold")
_FEW = 4


def leakage(found: Sequence[Findings]) -> list[PagePart]:
    """Return what the runs' splits share between training and test, where they share anything."""
    leaks = shared(found)
    several = len(found) > 1
    points = [
        Cell(sentence, [place + 1 for place in places] if several else ())
        for sentence, places in leaks.items()
    ]
    title = "Leakage between training and test"
    return [PagePart(Part.LEAKAGE, title, points=points)] if points else []


def configuration(runs: Sequence[Run]) -> PagePart:
    """Return the settings that the runs do not agree on, beside those that their names tell."""
    found = [
        one for one in differences([run.config for run in runs]) if one.key not in _TOLD_BY_NAMES
    ]
    title = "What was run"
    if not found:
        words = "The configurations are equal, apart from what the names of the runs tell."
        return PagePart(Part.CONFIGURATION, title, text=[words])
    rows = [row for one in found for row in _difference_rows(one, len(runs))]
    note = (
        "The settings that differ; the others stand in each run’s configuration. "
        "A method’s name stands for all its runs."
    )
    return PagePart(
        Part.CONFIGURATION,
        title,
        tables=[HtmlTable("Setting", ["Value", "Runs"], rows, note=note, words=True)],
    )


def results(study: Study) -> PagePart:
    """Return the paper's Table I of the runs, beside the paper's own figures."""
    note = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9 : 1 split"
    )
    drawn = "; they cannot be compared with runs on drawn cells"
    note += (drawn if any(run.drawn for run in study.runs) else "") + "."
    rows = page_rows(study.tables.table_1, study.runs)
    table = HtmlTable("Run", list(COLUMNS), rows, note, NOTES)
    return PagePart(Part.RESULTS, "Results", tables=[table])


def _difference_rows(one: Difference, total: int) -> list[HtmlRow]:
    """Return a row a value; that of most runs, where there are many, comes last as the rule."""
    rows = []
    for value, places in sorted(one.values, key=lambda pair: len(pair[1]) > total / 2):
        rule = total > _FEW and len(places) > total / 2
        which = Cell("all others") if rule else Cell("", [place + 1 for place in places])
        rows.append(HtmlRow(Cell(one.key), [Cell(value), which]))
    return rows
