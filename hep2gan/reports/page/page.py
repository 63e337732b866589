"""The HTML report: one self-contained page about one or more runs."""

from collections.abc import Mapping, Sequence
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.reports.naming import links, numbers_by_method, run_groups, summary
from hep2gan.reports.page.elements import PagePart, Part, Picture, in_order
from hep2gan.reports.page.study_section import (
    class_parts,
    configuration,
    leakage,
    results,
    table_parts,
)
from hep2gan.reports.study import Study

_TITLES = {
    Part.FIGURES: "Methods side by side",
    Part.INTERVALS: "Accuracy and its interval",
    Part.CALIBRATION: "Calibration",
    Part.SPECIMENS: "Accuracy by specimen",
    Part.WORST: "Where to look first",
}


def rendered_page(
    study: Study,
    pictures: Mapping[Part, Sequence[Picture]],
    *,
    title: str = "",
    question: str = "",
) -> str:
    """Return the HTML text; whatever configs, ids and class names hold is escaped.

    The page of one run is that run's section. The page of several shows what they say together in
    the order of `Part`, then the single runs. study: with its sections. pictures: of several runs,
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
        summary=summary(study.runs),
        parts=in_order(_parts(study, pictures)),
        Part=Part,
        sections=study.sections,
        methods=numbers_by_method(study.runs),
        links=partial(links, study.runs),
        groups=partial(run_groups, study.runs),
    )


def _parts(study: Study, pictures: Mapping[Part, Sequence[Picture]]) -> list[PagePart]:
    found = leakage([section.findings for section in study.sections])
    if len(study.runs) > 1:
        found += [configuration(study.runs), results(study)]
        found += [*table_parts(study), *class_parts(study)]
        if study.not_shown:
            found.append(PagePart(Part.FIGURES, _TITLES[Part.FIGURES], text=[study.not_shown]))
        found += [PagePart(part, _TITLES[part], pictures=own) for part, own in pictures.items()]
    return found
