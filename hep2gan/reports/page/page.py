"""The HTML report: one self-contained page about one or more runs."""

from collections.abc import Mapping, Sequence
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.reports.naming import numbers_by_method, run_groups, run_links, summarize_runs
from hep2gan.reports.page.elements import PagePart, PartName, Picture, order_parts
from hep2gan.reports.page.study_section import (
    class_parts,
    configuration_parts,
    leakage_parts,
    results_parts,
    table_parts,
)
from hep2gan.reports.study import Study

_TITLES = {
    PartName.FIGURES: "Methods side by side",
    PartName.INTERVALS: "Accuracy and its interval",
    PartName.CALIBRATION: "Calibration",
    PartName.SPECIMENS: "Accuracy by specimen",
    PartName.WORST: "Where to look first",
}


def rendered_page(
    study: Study,
    pictures: Mapping[PartName, Sequence[Picture]],
    *,
    title: str = "",
    question: str = "",
) -> str:
    """Return the HTML text; whatever configs, ids and class names hold is escaped.

    The page of one run is that run's section. The page of several shows what they say together in
    the order of `PartName`, then the single runs. study: with its sections. pictures: of all runs,
    for each part. title: the heading, else the run or the number of runs. question: what the runs
    were to answer, in one sentence.
    """
    environment = Environment(
        loader=PackageLoader("hep2gan.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        version=__version__,
        title=title,
        question=question,
        summary=summarize_runs(study.runs),
        parts=order_parts(_parts(study, pictures)),
        Part=PartName,
        sections=study.sections,
        methods=numbers_by_method(study.runs),
        links=partial(run_links, study.runs),
        groups=partial(run_groups, study.runs),
    )


def _parts(study: Study, pictures: Mapping[PartName, Sequence[Picture]]) -> list[PagePart]:
    found = leakage_parts([section.findings for section in study.sections])
    if len(study.runs) > 1:
        found += [configuration_parts(study.runs), results_parts(study)]
        found += [*table_parts(study), *class_parts(study)]
        if study.not_shown:
            found.append(
                PagePart(PartName.FIGURES, _TITLES[PartName.FIGURES], text=[study.not_shown])
            )
        found += [PagePart(part, _TITLES[part], pictures=own) for part, own in pictures.items()]
    return found
