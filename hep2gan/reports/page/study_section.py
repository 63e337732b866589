"""Leakage, priors and folds as the HTML report prints them."""

from collections.abc import Sequence
from statistics import fmean

from hep2gan.reports.naming import short_name
from hep2gan.reports.page.elements import HtmlCell, HtmlRow, HtmlTable, PagePart, PartName
from hep2gan.reports.page.run_section import (
    ConfigurationDifference,
    RunNotes,
    configuration_differences,
    shared_notes,
)
from hep2gan.reports.published import PublishedRow
from hep2gan.reports.results import MethodResults
from hep2gan.reports.study import Study
from hep2gan.reports.tables import baselines, folds, leakage
from hep2gan.reports.tables.classes import NOTE, ClassScoresRow, class_table
from hep2gan.reports.tables.table import (
    ABSENT,
    SYNTHETIC_NOTE,
    NamedRuns,
    TextTable,
    format_interval,
    format_points,
    hundredths,
    mean_sd,
)
from hep2gan.reports.tables.table_1 import NOTES, MethodComparison, Table1Row
from hep2gan.runs.finished import FinishedRun


def table_parts(study: Study) -> list[PagePart]:
    """Return a part a kind of table that the runs make, beside Table I."""
    named = short_table_names(study)
    return [*_leakage(study, named), *_priors(study, named), *_folds(study, named)]


def short_table_names(study: Study) -> NamedRuns:
    """Leave the study out of a method's title, where there is only one."""
    prefixes = {f"{method.study}/" for method in study.methods}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return lambda title: title.removeprefix(prefix)


def _leakage(study: Study, named: NamedRuns) -> list[PagePart]:
    rows, gaps = study.tables.protocols, study.tables.gaps
    if not rows:
        return []
    own = [row.method for row in rows]
    notes = notes_of(leakage.NOTE, own)
    table = leakage.protocol_table(rows, named)
    tables = [printed_text(table, study.runs, own, "", () if gaps else notes)]
    if gaps:
        tables.append(_gaps(study, named, notes))
    points = [HtmlCell(sentence) for sentence in leakage.leakage_sentences(rows, gaps, named)]
    return [PagePart(PartName.TABLES, "What the split flatters", points=points, tables=tables)]


def _gaps(study: Study, named: NamedRuns, notes: Sequence[str]) -> HtmlTable:
    """Each of two splits leads to the runs under it."""
    gaps = study.tables.gaps
    found = {(row.method.title, row.protocol): row.method for row in study.tables.protocols}
    header, lines = leakage.gap_table(gaps, named)
    rows = []
    for gap, (head, first, second, *fields) in zip(gaps, lines, strict=True):
        cells = [
            HtmlCell(words, found[gap.method.title, protocol].run_numbers(study.runs))
            for words, protocol in ((first, gap.first), (second, gap.second))
        ]
        rows.append(HtmlRow(HtmlCell(head), [*cells, *map(HtmlCell, fields)]))
    note = "One split less another, on the same cells."
    return HtmlTable(header[0], header[1:], rows, note, notes)


def _priors(study: Study, named: NamedRuns) -> list[PagePart]:
    if not (rows := study.tables.priors):
        return []
    own = [row.method for row in rows]
    notes = notes_of(baselines.NOTE, own)
    table = printed_text(baselines.measure_table(rows, named), study.runs, own, "", notes)
    return [PagePart(PartName.TABLES, "Masks beside trivial baselines", tables=[table])]


def _folds(study: Study, named: NamedRuns) -> list[PagePart]:
    if not (rows := study.tables.folds):
        return []
    own = [row.method for row in rows]
    spread, pooled = folds.spread_table(rows, named), folds.pooled_table(rows, named)
    notes = notes_of(folds.NOTE, own)
    tables = [
        printed_text(spread, study.runs, own, "Over the folds.", ()),
        printed_text(pooled, study.runs, own, "All folds as one test set.", notes),
    ]
    return [PagePart(PartName.TABLES, "Cross-validation", tables=tables)]


def notes_of(note: str, methods: Sequence[MethodResults]) -> list[str]:
    """Return a table's note, and what drawn cells are worth where there are any."""
    return [note, *([SYNTHETIC_NOTE] if any(method.is_synthetic for method in methods) else [])]


def printed_text(
    table: TextTable,
    runs: Sequence[FinishedRun],
    methods: Sequence[MethodResults],
    note: str,
    notes: Sequence[str],
) -> HtmlTable:
    """Print a table whose rows are about these methods, and lead to all runs of theirs."""
    rows = [
        HtmlRow(HtmlCell(head, method.run_numbers(runs)), list(map(HtmlCell, fields)))
        for (head, *fields), method in zip(table.rows, methods, strict=True)
    ]
    return HtmlTable(table.header[0], table.header[1:], rows, note, notes)


def class_parts(study: Study) -> list[PagePart]:
    """Return the part, where any method classifies: the hardest class, and the table folded."""
    rows, named = study.tables.classes, short_table_names(study)
    if not rows:
        return []
    own = [row.method for row in rows]
    table = printed_text(class_table(rows, named), study.runs, own, "", notes_of(NOTE, own))
    classes, methods = len({row.name for row in rows}), len({method.title for method in own})
    folded = f"{classes} classes by {methods} method{'s' * (methods > 1)}"
    return [
        PagePart(
            PartName.TABLES, "Class by class", text=_hardest(rows), tables=[table], folded=folded
        )
    ]


def _hardest(rows: Sequence[ClassScoresRow]) -> list[str]:
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


RUN_COLUMNS = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Dice": "dice",
    "Jaccard": "jaccard",
}
"""Table I's columns, and the two of section III-C, with their names in metrics.json."""


def page_rows(rows: Sequence[Table1Row], runs: Sequence[FinishedRun]) -> list[HtmlRow]:
    """Return a row a run, then its method's mean, the paper's row, and how the method compares.

    Folds have no rows of their own: they are one test set in parts.
    """
    printed = []
    for row in rows:
        numbers = row.method.run_numbers(runs)
        if not _folded(row.method):
            for number in numbers:
                run = runs[number - 1]
                printed.append(_run_row(run, number, short_name(run, runs)))
        if len(numbers) > 1 or _folded(row.method):
            printed.append(_mean_row(row, numbers))
        if (paper := row.method.published) is not None:
            printed.append(_paper_row(paper))
        if row.compared:
            own = HtmlCell(_words(row.comparison, runs), _compared(row, runs))
            printed.append(HtmlRow(own, (), "comparison"))
    return printed


def _compared(row: Table1Row, runs: Sequence[FinishedRun]) -> list[int]:
    """The numbers of the runs that a comparison is of."""
    if isinstance(row.comparison, str):
        return []
    return [*row.method.run_numbers(runs), *row.comparison.other.run_numbers(runs)]


def _folded(method: MethodResults) -> bool:
    return any(result.run.fold is not None for result in method.results)


def _run_row(run: FinishedRun, number: int, name: str) -> HtmlRow:
    low, high = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high"))
    known = low is not None and high is not None
    cells = [
        HtmlCell(
            hundredths(run.metrics.get(f"test/{key}")),
            (number,),
            f"{hundredths(low)}–{hundredths(high)}" if key == "accuracy" and known else "",
        )
        for key in RUN_COLUMNS.values()
    ]
    return HtmlRow(HtmlCell(name, (number,)), cells, "run")


def _mean_row(row: Table1Row, numbers: Sequence[int]) -> HtmlRow:
    """The method over its seeds; the interval is over specimens where they are known."""
    cells = []
    for key in RUN_COLUMNS.values():
        found = row.estimates.get(key)
        note = format_interval(found.interval) if found and key == "accuracy" else ""
        cells.append(HtmlCell(mean_sd(found.mean, found.sd) if found else ABSENT, (), note))
    name = f"{row.method.title}, {_what(row.method)}"
    return HtmlRow(HtmlCell(name, numbers), cells, "mean")


def _what(method: MethodResults) -> str:
    runs, seeds = len(method.results), len(method.tests)
    word = ("folds" if runs > 1 else "fold") if _folded(method) else "runs"
    if seeds == 1:
        return f"{'all ' if word == 'runs' else ''}{runs} {word} of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} {word}'}"


def _paper_row(paper: PublishedRow) -> HtmlRow:
    cells = [HtmlCell(hundredths(paper.metrics.get(f"test/{key}"))) for key in RUN_COLUMNS.values()]
    return HtmlRow(HtmlCell(f"Paper: {paper.name}"), cells, "paper")


def _words(comparison: MethodComparison | str, runs: Sequence[FinishedRun]) -> str:
    if isinstance(comparison, str):
        return f"Against {comparison}"
    return (
        f"Against {comparison.other.title}: "
        f"{format_points(comparison.over_cells.estimate)} points of accuracy, "
        f"{format_points(comparison.mean_class_accuracy.estimate)} of mean class accuracy, on "
        f"{comparison.cells:,} same cells ({comparison.only_here} right here alone, "
        f"{comparison.only_there} there alone), {comparison.verdict}"
    )


_TOLD_BY_NAMES = ("study", "name", "method", "seed", "split.fold")
_FEW = 4


def leakage_parts(found: Sequence[RunNotes]) -> list[PagePart]:
    """Return what the runs' splits share between training and test, where they share anything."""
    leaks = shared_notes(found)
    several = len(found) > 1
    points = [
        HtmlCell(sentence, [place + 1 for place in places] if several else ())
        for sentence, places in leaks.items()
    ]
    title = "Leakage between training and test"
    return [PagePart(PartName.LEAKAGE, title, points=points)] if points else []


def configuration_parts(runs: Sequence[FinishedRun]) -> PagePart:
    """Return the settings that the runs do not agree on, beside those that their names tell."""
    found = [
        one
        for one in configuration_differences([run.config for run in runs])
        if one.key not in _TOLD_BY_NAMES
    ]
    title = "What was run"
    if not found:
        words = "The configurations are equal, apart from what the names of the runs tell."
        return PagePart(PartName.CONFIGURATION, title, text=[words])
    rows = [row for one in found for row in _difference_rows(one, len(runs))]
    note = (
        "The settings that differ; the others stand in each run’s configuration. "
        "A method’s name stands for all its runs."
    )
    return PagePart(
        PartName.CONFIGURATION,
        title,
        tables=[HtmlTable("Setting", ["Value", "Runs"], rows, note=note, words=True)],
    )


def results_parts(study: Study) -> PagePart:
    """Return the paper's Table I of the runs, beside the paper's own figures."""
    note = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9 : 1 split"
    )
    drawn = "; they cannot be compared with runs on drawn cells"
    note += (drawn if any(run.is_synthetic for run in study.runs) else "") + "."
    rows = page_rows(study.tables.table_1, study.runs)
    table = HtmlTable("Run", list(RUN_COLUMNS), rows, note, NOTES)
    return PagePart(PartName.RESULTS, "Results", tables=[table])


def _difference_rows(one: ConfigurationDifference, total: int) -> list[HtmlRow]:
    """Return a row a value; that of most runs, where there are many, comes last as the rule."""
    rows = []
    for value, places in sorted(one.values, key=lambda pair: len(pair[1]) > total / 2):
        rule = total > _FEW and len(places) > total / 2
        which = HtmlCell("all others") if rule else HtmlCell("", [place + 1 for place in places])
        rows.append(HtmlRow(HtmlCell(one.key), [HtmlCell(value), which]))
    return rows
