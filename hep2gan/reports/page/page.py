"""The HTML report: one self-contained page about one or more runs."""

import re
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.reports.naming import (
    group_pairs,
    numbers_by_method,
    run_groups,
    run_links,
    short_name,
    summarize_runs,
)
from hep2gan.reports.page.elements import FIELDS, FIGURE_HEADINGS, SIDE_BY_SIDE, PagePart, Picture
from hep2gan.reports.page.run_section import (
    RunSection,
    configuration_differences,
    headlines,
    highlights,
    leaks_of,
    notes_of,
)
from hep2gan.reports.results import MethodResults, recorded_interval
from hep2gan.reports.study import Study
from hep2gan.reports.tables.estimates import estimate_cell
from hep2gan.reports.tables.table import (
    Cell,
    Part,
    Row,
    Table,
    format_interval,
    format_points,
)
from hep2gan.reports.tables.table_1 import (
    Table1Row,
    metric_cells,
    published_row,
    table_1_notes,
)
from hep2gan.runs.finished import FinishedRun

_RESULTS = ("accuracy", "precision", "recall", "f1", "dice", "jaccard")
"""Table I's columns, and the two of section III-C, by their names in metrics.json."""
_IN_NAMES = ("study", "name", "method", "seed", "split.fold")
_OF_OTHER_SETS = ("external", "fields", "fields_by_class")
"""Tables that the page of a single run shows."""
_FEW = 4
_RANGE = re.compile(r"([\d.]{1,7}(?:–| ± )[\d.]{1,7}|p [=<] [\d.]{1,7})")
"""An interval, a mean ± its standard deviation or a p value, which no line may break."""


def rendered_page(
    study: Study,
    sections: Sequence[RunSection],
    tables: Mapping[str, Table],
    pictures: Mapping[str, Sequence[Picture]],
    *,
    title: str = "",
    question: str = "",
) -> str:
    """Render the HTML page; all text from configurations, ids and class names is escaped.

    The page of one run consists of the section of that run. The page of several begins with their
    comparison; the sections of the single runs follow.

    Args:
        study: The runs and what is computed from them.
        sections: Sections of the single runs.
        tables: Tables of the runs, by name.
        pictures: Figures of all runs, under each of `FIGURE_HEADINGS`.
        title: The heading; if empty, the run or the number of runs.
        question: Question that the runs were to answer, in one sentence.
    """
    environment = Environment(
        loader=PackageLoader("hep2gan.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["split_at_ranges"] = _RANGE.split
    runs = study.runs
    numbers = {run.path: number for number, run in enumerate(runs, start=1)}
    return environment.get_template("report.html.j2").render(
        version=__version__,
        title=title,
        question=question,
        summary=summarize_runs(runs),
        parts=_parts(study, tables, pictures),
        sections=sections,
        highlights=highlights,
        headlines=headlines,
        leaks_of=leaks_of,
        notes_of=notes_of,
        methods=numbers_by_method(runs),
        links=lambda cell: run_links(runs, [numbers[path] for path in cell.runs]),
        groups=lambda cell: run_groups(runs, [numbers[path] for path in cell.runs]),
        numbers=numbers,
    )


def _parts(
    study: Study, tables: Mapping[str, Table], pictures: Mapping[str, Sequence[Picture]]
) -> list[PagePart]:
    parts = leakage_parts(study.runs)
    if len(study.runs) == 1:
        parts += [
            PagePart(table.title, table=table)
            for name in _OF_OTHER_SETS
            if (table := tables.get(name))
        ]
        if FIELDS in pictures:
            parts.append(PagePart(FIELDS, pictures=pictures[FIELDS]))
    elif len(study.runs) > 1:
        parts += [configuration_part(study.runs), results_part(study)]
        # Table I is shown run by run instead.
        parts += [
            PagePart(
                table.title,
                table.text,
                [Cell(text=f"{name}: {words}") for name, words in table.findings],
                table,
            )
            for table in tables.values()
            if "html" in table.outputs
        ]
        if study.not_comparable:
            parts.append(PagePart(SIDE_BY_SIDE, study.not_comparable))
        parts += [
            PagePart(heading, pictures=pictures[heading])
            for heading in FIGURE_HEADINGS
            if heading in pictures
        ]
    return parts


def leakage_parts(runs: Sequence[FinishedRun]) -> list[PagePart]:
    """List what training and test share in the splits of the runs.

    Args:
        runs: All runs of the report.

    Returns:
        One part, or none if nothing is shared.
    """
    paths = group_pairs((sentence, run.path) for run in runs for sentence in leaks_of(run))
    points = [Cell(text=text, runs=own if len(runs) > 1 else ()) for text, own in paths.items()]
    title = "Leakage between training and test"
    return [PagePart(title, points=points, alarm=True)] if points else []


def configuration_part(runs: Sequence[FinishedRun]) -> PagePart:
    """List the settings that differ between the runs, except those in their names.

    Args:
        runs: All runs of the report.
    """
    title = "What was run"
    rows = [
        row
        for key, values in configuration_differences([run.config for run in runs]).items()
        if key not in _IN_NAMES
        for row in _difference_rows(key, values, runs)
    ]
    if not rows:
        return PagePart(
            title, "The configurations are equal, apart from the settings in the names of the runs."
        )
    caption = (
        "The settings that differ; all others are in the configuration of each run. "
        "A method’s name stands for all its runs"
    )
    return PagePart(title, table=Table(title, rows, [Part(caption)], words=True))


def _difference_rows(
    key: str, values: Mapping[str, Sequence[int]], runs: Sequence[FinishedRun]
) -> list[Row]:
    """Return one row for each value; if there are many runs, the value of most comes last."""
    rows = []
    for value, places in sorted(values.items(), key=lambda pair: len(pair[1]) > len(runs) / 2):
        which = Cell("Runs", runs=[runs[place].path for place in places])
        if len(runs) > _FEW and len(places) > len(runs) / 2:
            which = Cell("Runs", "all others")
        rows.append(Row([Cell("Setting", key)], [[Cell("Value", value), which]]))
    return rows


def results_part(study: Study) -> PagePart:
    """Build the paper's Table I of the runs, with the paper's own results.

    Args:
        study: The runs.
    """
    caption = (
        "Percentages on the test cells, as in the paper’s Table I; with the accuracy its 95 % "
        "interval. Rows in italics are what the paper prints for the method, measured on the "
        "ICPR 2016 set with one random 9\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}1 split"
    )
    if any(run.is_synthetic for run in study.runs):
        caption += "; they cannot be compared with runs on synthetic cells"
    rows = [row for one in study.table_1 for row in _method_rows(one, study.runs)]
    return PagePart(
        "Results", table=Table("Results", rows, [Part(caption)], notes=table_1_notes(study.methods))
    )


def _method_rows(row: Table1Row, runs: Sequence[FinishedRun]) -> list[Row]:
    """Return a row for each run, then the method's mean, the paper's row and the comparison.

    Folds have no rows of their own: they are one test set in parts.
    """
    own = [result.run for result in row.method.results]
    folded = any(run.fold is not None for run in own)
    rows = [] if folded else [_run_row(run, short_name(run, runs)) for run in own]
    if folded or len(own) > 1:
        rows.append(_mean_row(row, folded=folded))
    if (paper := row.method.published) is not None:
        rows.append(published_row("Run", paper, _RESULTS))
    if row.compared:
        rows.append(_comparison_row(row))
    return rows


def _run_row(run: FinishedRun, name: str) -> Row:
    found = recorded_interval(run.metrics)
    cells = metric_cells(run.metrics, _RESULTS, [run.path])
    cells[0] = cells[0]._replace(note=format_interval(found[0]) if found else "")
    return Row([Cell("Run", name, runs=[run.path])], [cells], kind="run")


def _mean_row(row: Table1Row, *, folded: bool) -> Row:
    """The method over its seeds; the interval is over specimens where they are known."""
    cells = [estimate_cell(key, row.estimates.get(key)) for key in _RESULTS]
    if (accuracy := row.estimates.get("accuracy")) is not None and accuracy.interval is not None:
        cells[0] = cells[0]._replace(note=format_interval(accuracy.interval))
    name = f"{row.method.title}, {_what(row.method, folded=folded)}"
    return Row([Cell("Run", name, runs=row.method.runs)], [cells], kind="mean")


def _what(method: MethodResults, *, folded: bool) -> str:
    runs, seeds = len(method.results), len(method.tests)
    word = ("folds" if runs > 1 else "fold") if folded else "runs"
    if seeds == 1:
        return f"{'all ' if word == 'runs' else ''}{runs} {word} of seed {next(iter(method.tests))}"
    return f"mean ± sd of {seeds} {'runs' if runs == seeds else f'seeds, {runs} {word}'}"


def _comparison_row(row: Table1Row) -> Row:
    one = row.comparison
    if isinstance(one, str):
        return Row([Cell("Run", f"Against {one}")], kind="comparison")
    found, cells = one.pairs.differences, f"{len(one.pairs.each):,} same cells"
    text = f"Against {one.other.title}: "
    if one.main == "accuracy":
        here, there = one.pairs.discordant
        text += (
            f"{format_points(found['accuracy'].estimate)} points of accuracy, "
            f"{format_points(found['mean_class_accuracy'].estimate)} of mean class accuracy, on "
            f"{cells} ({here} correct only here, {there} only there), {one.verdict}"
        )
    else:
        text += f"{format_points(found['dice'].estimate)} points of Dice on {cells}, {one.verdict}"
    return Row([Cell("Run", text, runs=[*row.method.runs, *one.other.runs])], kind="comparison")
