"""The report of a set of runs as files: the page, tables and figures."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import atomic_write, file_digest, read_limited
from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES, render_figure
from hep2gan.reports.naming import short_name
from hep2gan.reports.page import elements
from hep2gan.reports.page.page import rendered_page
from hep2gan.reports.page.run_section import RunSection, illustrate, run_section
from hep2gan.reports.study import Study, read_runs, read_study
from hep2gan.reports.study_figures import FIGURE_NAMES, study_figures
from hep2gan.reports.tables.catalogue import MakeTable, find_tables
from hep2gan.reports.tables.table import Table
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.predictions import Predictions

log = logging.getLogger(__name__)

PAGE = "report"
_LIST, _GREATER = "<!-- written beside this page: ", "\\u003e"
_MAX_PAGE = 1 << 30

_COMPARISONS = frozenset(spec.name for spec in COMPARISON_FIGURES)
_HEADINGS = {
    "intervals": elements.INTERVALS,
    "calibration": elements.CALIBRATION,
    "specimens": elements.SPECIMENS,
    "worst_segmented": elements.WORST,
    "worst_classified": elements.WORST,
}
"""Headings of figures on the page; all others are under `SIDE_BY_SIDE`."""


def write_report(
    runs: Sequence[Path],
    folder: Path,
    *,
    title: str = "",
    question: str = "",
    only: Sequence[str] = (),
    page: str = "report.html",
    reference: str = "",
    modules: Sequence[str] = (),
) -> list[Path]:
    """Write the report of finished runs into a folder: the page, and beside it tables and figures.

    Each file is written completely or not at all. A page takes the place of an earlier one together
    with its tables and figures: those that are not written again are removed, unless they were
    changed since.

    Args:
        runs: Run folders runs/<study>/<method>/seed<k>/.
        folder: Folder of the report; created if missing.
        title: Heading of the page; if empty, the run or the number of runs.
        question: Question that the runs were to answer, in one sentence.
        only: "report" (the page) and names of tables and figures, to write only those; empty for
            everything that the runs have. Specimens are a table and figures.
        page: File name of the page.
        reference: Method that each other is compared with; if empty, the one in the row below of
            Table I.
        modules: Modules of the user's own whose tables are added, see `find_tables`.

    Returns:
        The files, the page first.

    Raises:
        Hep2ganError: If a run is missing, unfinished or damaged (names it and the command that
            repairs it); if two runs are the same seed and fold of a method; if a name in `only` is
            unknown or these runs do not have it; if the reference is none of the methods; if a file
            cannot be written; as `find_tables`.
    """
    makers = find_tables(modules)
    known = dict.fromkeys([PAGE, *makers, *FIGURE_NAMES])
    if unknown := [name for name in only if name not in known]:
        raise Hep2ganError(
            f"there is no table or figure {unknown[0]!r}", "", f"choose from {', '.join(known)}"
        )
    names = frozenset(only or known)
    finished = read_runs(runs)
    illustrated = illustrate(finished)
    sections: list[RunSection] = []

    def add_section(run: FinishedRun, predictions: Predictions) -> None:
        number, name = len(sections) + 1, short_name(run, finished)
        sections.append(run_section(run, number, name, predictions, figures=number in illustrated))

    plots = bool(names.intersection(FIGURE_NAMES)) or (PAGE in names and len(finished) > 1)
    study = read_study(
        finished,
        figures=plots,
        reference=reference,
        visit=add_section if PAGE in names else None,
    )
    if study.not_comparable and plots and names.intersection([PAGE, *_COMPARISONS]):
        log.warning(study.not_comparable)
    figure_files, pictures = _render_figures(study, names) if plots else ({}, {})
    files: dict[str, str | bytes] = {}
    tables = make_tables(study, makers) if len(finished) > 1 or names.intersection(makers) else {}
    if PAGE in names:
        if shown := elements.field_pictures(study.external):
            pictures[elements.FIELDS] = shown
        files[page] = rendered_page(
            study, sections, tables, pictures, title=title, question=question
        )
    files |= table_files({name: table for name, table in tables.items() if name in names})
    files |= figure_files
    if only:
        _check_made(only, [PAGE if name == page else Path(name).stem for name in files], study)
    if PAGE not in names:
        return _write_files(files, folder)
    outdated = _outdated_files(folder / page, files)
    written = _write_files({page: _with_list(files.pop(page), files), **files}, folder)
    for path in outdated:
        path.unlink()
    if outdated:
        log.info("removed %s of the page that was there", pluralize(len(outdated), "file"))
    return written


def make_tables(study: Study, makers: Mapping[str, MakeTable]) -> dict[str, Table]:
    """Make the tables of the runs.

    Args:
        study: The runs.
        makers: As from `find_tables`.

    Returns:
        Table by name; those without content are left out.
    """
    return {name: table for name, make in makers.items() if (table := make(study)) is not None}


def table_files(tables: Mapping[str, Table]) -> dict[str, str]:
    """Render tables as files; the same runs give the same bytes.

    Args:
        tables: Table by name.

    Returns:
        Content by file name.
    """
    writers = {"md": Table.to_markdown, "tex": Table.to_latex, "csv": Table.to_csv}
    return {
        f"{name}.{ending}": write(table)
        for name, table in tables.items()
        for ending, write in writers.items()
        if ending in table.outputs
    }


def page_file(destination: Path) -> Path:
    """Determine the file of the page.

    Args:
        destination: A file *.html, or an existing folder.

    Returns:
        `destination`, or report.html in it if it is a folder.

    Raises:
        Hep2ganError: If it is neither an existing folder nor named *.html.
    """
    if destination.is_dir():
        return destination / "report.html"
    if destination.suffix.casefold() not in (".html", ".htm"):
        raise Hep2ganError(
            f"output {destination} is no folder and no HTML file",
            "the report is one file named *.html, or report.html in a folder that is there",
            f"output={destination / 'report.html'}",
        )
    return destination


def _render_figures(
    study: Study, names: Collection[str]
) -> tuple[dict[str, bytes], dict[str, list[elements.Picture]]]:
    """Plot each figure once, for its files, the page of several runs, or both.

    Returns:
        The files' contents by name, and the page's pictures by the heading that they stand under.
    """
    files: dict[str, bytes] = {}
    pictures: dict[str, list[elements.Picture]] = {}
    embed = PAGE in names and len(study.runs) > 1
    for spec in study_figures(study, FIGURE_NAMES if embed else names):
        if (figure := spec.plot(study)) is None:
            continue
        png = render_figure(figure)
        if spec.name in names:
            files |= {f"{spec.file}.pdf": render_figure(figure, "pdf"), f"{spec.file}.png": png}
        if embed:
            heading = _HEADINGS.get(spec.name, elements.SIDE_BY_SIDE)
            pictures.setdefault(heading, []).append(elements.make_picture(spec, png))
    return files, pictures


def _check_made(only: Sequence[str], made: Sequence[str], study: Study) -> None:
    """Raise Hep2ganError for a name without a file; files of single methods have it as prefix."""
    for name in only:
        if not any(stem == name or stem.startswith(f"{name}_") for stem in made):
            reason = study.not_comparable if name in _COMPARISONS else ""
            reason = reason.rstrip(".") or "their methods do not have what it shows"
            raise Hep2ganError(f"these runs make no {name}", reason)


def _with_list(page: str | bytes, files: Mapping[str, str | bytes]) -> str:
    """The page with a comment at its end that lists the files beside it, with their digests."""
    assert isinstance(page, str)
    digests = {
        name: sha256(content.encode() if isinstance(content, str) else content).hexdigest()
        for name, content in files.items()
    }
    # No name ends the comment.
    return f"{page}{_LIST}{json.dumps(digests).replace('>', _GREATER)} -->\n"


def _outdated_files(page: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """What an earlier page lists and nobody has changed since, apart from what is written again."""
    try:
        text = read_limited(page, _MAX_PAGE).decode()
        listed = json.loads(text.rpartition(_LIST)[2].removesuffix(" -->\n"))
    except ValueError:  # There is no page, or none of ours.
        return []
    return [
        path
        for name, digest in (listed.items() if isinstance(listed, dict) else ())
        if name not in files
        and Path(name).name == name
        and (path := page.parent / name).is_file()
        and file_digest(path) == digest
    ]


def _write_files(files: Mapping[str, str | bytes], folder: Path) -> list[Path]:
    """Write all files; raises Hep2ganError naming the one that cannot be."""
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            atomic_write(path, content)
    except OSError as error:
        raise Hep2ganError(
            f"{path} cannot be written ({error.strerror})",
            "",
            "choose another with output=FOLDER/report.html",
        ) from error
    return [folder / name for name in files]
