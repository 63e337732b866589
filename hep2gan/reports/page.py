"""The HTML report: one self-contained file about one or more runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hep2gan import __version__
from hep2gan.errors import Hep2ganError
from hep2gan.reports.configuration import differences, highlights
from hep2gan.reports.findings import findings, shared
from hep2gan.reports.methods import Result, methods
from hep2gan.reports.numbers import cell_counts, class_rows, headlines
from hep2gan.reports.page_rows import COLUMNS, PageRow, page_rows
from hep2gan.reports.pictures import pictures
from hep2gan.reports.runs import Run, read_run
from hep2gan.reports.table_1 import table_1
from hep2gan.reports.table_1_text import NOTES
from hep2gan.reports.tested import kept_cells
from hep2gan.whole import write_whole


def write_report(runs: Sequence[Path], destination: Path) -> Path:
    """Write one HTML file about `runs` with all figures inside; it refers to nothing outside.

    runs: folders runs/<study>/<method>/seed<k>/ of finished runs. destination: the file, or a
    folder for report.html in it. Returns the file. Raises Hep2ganError naming the run and the
    command to mend it when one is missing, unfinished or damaged; then nothing is written.
    """
    if not runs:
        fix = "hep2gan-report runs/default/proposed/seed0"
        raise Hep2ganError("there are no runs to report", "a report needs at least one", fix)
    page = rendered_page([read_run(path) for path in runs])
    path = destination / "report.html" if destination.is_dir() else destination
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode("utf-8"))
    return path


def rendered_page(runs: Sequence[Run]) -> str:
    """Return the HTML text; whatever configs, ids and class names hold is escaped."""
    environment = Environment(
        loader=PackageLoader("hep2gan.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(run, number) for number, run in enumerate(runs, start=1)]
    return environment.get_template("report.html.j2").render(
        version=__version__,
        sections=sections,
        leaks=shared([section["findings"] for section in sections]),
        rows=_rows(runs, sections),
        notes=NOTES,
        columns=list(COLUMNS),
        differences=differences([run.config for run in runs]),
        drawn=any(run.drawn for run in runs),
    )


def _rows(runs: Sequence[Run], sections: Sequence[dict[str, Any]]) -> list[PageRow]:
    """Table I, where there are several runs to compare."""
    if len(runs) < 2:
        return []
    results = [Result(run, section["tested"]) for run, section in zip(runs, sections, strict=True)]
    return page_rows(table_1(methods(results)), runs)


def _section(run: Run, number: int) -> dict[str, Any]:
    """Gather what the template prints about one run; its predictions are let go afterwards."""
    predictions = run.predictions()
    shown = pictures(run, predictions)
    anchor = f"run-{number}"
    return {
        "anchor": anchor,
        "run": run,
        "tested": kept_cells(predictions),
        "cells": len(predictions.label),
        "word": "drawn cells" if run.drawn else "cells",
        "findings": findings(run),
        "headlines": headlines(run.metrics),
        "highlights": highlights(run.config),
        "counts": cell_counts(run, predictions),
        "classes": class_rows(predictions),
        "class_names": predictions.classes,
        "figures": [one for one in shown if not one.name.startswith("worst")],
        "worst": [one for one in shown if one.name.startswith("worst")],
        "places": {key: f"{anchor}-metric-{place}" for place, key in enumerate(run.metrics, 1)},
    }
