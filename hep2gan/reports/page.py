"""The HTML report: one self-contained file about one or more runs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.errors import Hep2ganError
from hep2gan.reports.evidence import Evidence, Part, in_order
from hep2gan.reports.methods import Result, methods
from hep2gan.reports.naming import links, numbers_by_method, summary
from hep2gan.reports.runs import Run, read_run
from hep2gan.reports.sections import sections
from hep2gan.reports.study import configuration, leakage, results
from hep2gan.reports.table_1 import table_1
from hep2gan.whole import write_whole


def write_report(
    runs: Sequence[Path],
    destination: Path,
    *,
    title: str = "",
    question: str = "",
    evidence: Sequence[Evidence] = (),
) -> Path:
    """Write one HTML file about `runs` with all figures inside; it refers to nothing outside.

    runs: folders runs/<study>/<method>/seed<k>/ of finished runs. destination: the file, or a
    folder for report.html in it. The others as in `rendered_page`. Returns the file. Raises
    Hep2ganError naming the run and the command to mend it when one is missing, unfinished or
    damaged, or when the file cannot be written; then nothing is.
    """
    if not runs:
        fix = "hep2gan-report runs/default/proposed/seed0"
        raise Hep2ganError("there are no runs to report", "a report needs at least one", fix)
    path = _file(destination)
    page = rendered_page(
        [read_run(run) for run in runs], title=title, question=question, evidence=evidence
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        fix = "choose another with output=FOLDER/report.html"
        raise Hep2ganError(f"{path} cannot be written ({error.strerror})", "", fix) from error
    return path


def _file(destination: Path) -> Path:
    if destination.is_dir():
        return destination / "report.html"
    if destination.suffix.casefold() not in (".html", ".htm"):
        raise Hep2ganError(
            f"output {destination} is no folder and no HTML file",
            "the report is one file named *.html, or report.html in a folder that is there",
            f"output={destination / 'report.html'}",
        )
    return destination


def rendered_page(
    runs: Sequence[Run], *, title: str = "", question: str = "", evidence: Sequence[Evidence] = ()
) -> str:
    """Return the HTML text; whatever configs, ids, class names and evidence hold is escaped.

    title: the heading, else the run or the number of runs. question: what the runs were to
    answer, in one sentence. evidence: parts that stand before the single runs beside those on
    leakage, settings and Table I, in the order of `Part`; cells count `runs` from 1.
    """
    environment = Environment(
        loader=PackageLoader("hep2gan.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = sections(runs)
    own = leakage([section.findings for section in found])
    if len(runs) > 1:
        tested = [Result(section.run, section.tested) for section in found]
        own += [configuration(runs), results(table_1(methods(tested)), runs)]
    return environment.get_template("report.html.j2").render(
        version=__version__,
        title=title,
        question=question,
        summary=summary(runs),
        evidence=in_order([*own, *evidence]),
        Part=Part,
        sections=found,
        methods=numbers_by_method(runs),
        links=partial(links, runs),
    )
