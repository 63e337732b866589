"""The HTML report: one self-contained page about one or more runs."""

from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.reports.naming import numbers_by_method, run_groups, run_links, summarize_runs
from hep2gan.reports.page.elements import FIGURE_HEADINGS, SIDE_BY_SIDE, PagePart, Picture
from hep2gan.reports.page.run_section import (
    RunSection,
    headlines,
    highlights,
    leaks_of,
    notes_of,
)
from hep2gan.reports.page.study_section import (
    configuration_part,
    leakage_parts,
    results_part,
    table_parts,
)
from hep2gan.reports.study import Study
from hep2gan.reports.tables.table import Table


def rendered_page(
    study: Study,
    sections: Sequence[RunSection],
    tables: Mapping[str, Table],
    pictures: Mapping[str, Sequence[Picture]],
    *,
    title: str = "",
    question: str = "",
) -> str:
    """Return the HTML text; whatever configs, ids and class names hold is escaped.

    The page of one run is that run's section. The page of several shows what they say together,
    then the single runs.

    Args:
        study: The runs and what is computed from them.
        sections: Of the single runs.
        tables: Those that the runs make, by name.
        pictures: Of all runs, under each of FIGURE_HEADINGS.
        title: The heading, else the run or the number of runs.
        question: What the runs were to answer, in one sentence.
    """
    environment = Environment(
        loader=PackageLoader("hep2gan.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
    if len(study.runs) > 1:
        parts += [configuration_part(study.runs), results_part(study), *table_parts(tables)]
        if study.not_comparable:
            parts.append(PagePart(SIDE_BY_SIDE, study.not_comparable))
        parts += [
            PagePart(heading, pictures=pictures[heading])
            for heading in FIGURE_HEADINGS
            if heading in pictures
        ]
    return parts
