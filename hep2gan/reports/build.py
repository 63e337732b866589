"""All that a set of runs has to show, as files: the page, tables and figures."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write
from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES, render_figure
from hep2gan.reports.page.elements import Picture, make_picture
from hep2gan.reports.page.page import rendered_page
from hep2gan.reports.study import Study, read_study
from hep2gan.reports.study_figures import make_study_figures
from hep2gan.reports.tables.catalogue import TABLES, make_tables, table_files

log = logging.getLogger(__name__)

PAGE = "report"
_SIDE_BY_SIDE = tuple(one.name for one in COMPARISON_FIGURES)
FIGURES = (
    *_SIDE_BY_SIDE,
    *("intervals", "specimens", "worst_segmented", "worst_classified"),
)
NAMES = tuple(dict.fromkeys([PAGE, *TABLES, *FIGURES]))
"""What `only` may name; specimens are a table and figures."""


def write_report(
    runs: Sequence[Path],
    folder: Path,
    *,
    title: str = "",
    question: str = "",
    only: Sequence[str] = (),
    page: str = "report.html",
    reference: str = "",
) -> list[Path]:
    """Write what finished runs have to show into `folder`: the page; beside it tables and figures.

    runs: folders runs/<study>/<method>/seed<k>/. title, question: of the page, as in
    `rendered_page`. only: some of NAMES, to write just those. page: the page's file name.
    reference: the method that each other is compared with; empty is the row below in Table I.
    Returns the files, the page first. Each is written whole or not at all. Raises Hep2ganError
    naming the run and the command to mend it when one is missing, unfinished or damaged, naming
    two that are one seed and fold of a method, for names in `only` that are none or that these
    runs do not make, for a reference that is none of the methods, and when a file cannot be
    written.
    """
    _check(only)
    wanted = frozenset(only or NAMES)
    figures = bool(wanted.intersection(FIGURES)) or (PAGE in wanted and len(runs) > 1)
    study = read_study(runs, page=PAGE in wanted, figures=figures, reference=reference)
    if study.not_shown and figures and wanted.intersection([PAGE, *_SIDE_BY_SIDE]):
        log.warning(study.not_shown)
    drawn = _drawn(study, wanted) if figures else _Drawn({}, {})
    files: dict[str, str | bytes] = {}
    several = len(study.runs) > 1
    tables = make_tables(study) if several or wanted.intersection(TABLES) else {}
    if PAGE in wanted:
        files[page] = rendered_page(study, tables, drawn.pictures, title=title, question=question)
    files |= table_files({name: table for name, table in tables.items() if name in wanted})
    files |= drawn.files
    if only:
        _check_made(only, [PAGE if name == page else _stem(name) for name in files], study)
    return _written(files, folder)


def page_file(destination: Path) -> Path:
    """Return the page's file: `destination`, or report.html in it where it is a folder.

    Raises Hep2ganError when it is neither a folder nor named *.html.
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


class _Drawn(NamedTuple):
    files: Mapping[str, bytes]
    pictures: Mapping[str, Sequence[Picture]]


def _drawn(study: Study, wanted: frozenset[str]) -> _Drawn:
    """Draw each figure once, for its files, the page of several runs, or both."""
    files: dict[str, bytes] = {}
    pictures: dict[str, list[Picture]] = {}
    embed = PAGE in wanted and len(study.runs) > 1
    for one in make_study_figures(study, FIGURES if embed else wanted):
        if (figure := one.draw()) is None:
            continue
        content = render_figure(figure)
        if one.kind in wanted:
            files |= {f"{one.name}.pdf": render_figure(figure, "pdf"), f"{one.name}.png": content}
        if embed:
            alt = f"{one.title}. {one.caption}"
            found = make_picture(one.name, one.title, one.caption, alt, content)
            pictures.setdefault(one.heading, []).append(found)
    return _Drawn(files, pictures)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _check(only: Sequence[str]) -> None:
    if unknown := [name for name in only if name not in NAMES]:
        raise Hep2ganError(
            f"there is no table or figure {unknown[0]!r}", "", f"choose from {', '.join(NAMES)}"
        )


def _check_made(only: Sequence[str], made: Sequence[str], study: Study) -> None:
    """Raise Hep2ganError for a name without a file; those of single methods go on with a name."""
    for name in only:
        if not any(one == name or one.startswith(f"{name}_") for one in made):
            why = study.not_shown if name in _SIDE_BY_SIDE else ""
            why = why.rstrip(".") or "their methods do not have what it shows"
            raise Hep2ganError(f"these runs make no {name}", why)


def _written(files: Mapping[str, str | bytes], folder: Path) -> list[Path]:
    """Write all files; raises Hep2ganError naming the one that cannot be."""
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            atomic_write(path, content)
    except OSError as error:
        fix = "choose another with output=FOLDER/report.html"
        raise Hep2ganError(f"{path} cannot be written ({error.strerror})", "", fix) from error
    return [folder / name for name in files]
