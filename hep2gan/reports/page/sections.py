"""What a report prints about one run."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.reports.naming import numbers_by_method
from hep2gan.reports.page.configuration import highlights
from hep2gan.reports.page.findings import Findings, findings
from hep2gan.reports.page.numbers import ClassRow, Headline, cell_counts, class_rows, headlines
from hep2gan.reports.page.pictures import Picture, pictures
from hep2gan.reports.tested import Tested, kept_cells
from hep2gan.runs.finished import Run
from hep2gan.runs.predictions import Predictions

_FEW, _MOST = 4, 12


class Section(NamedTuple):
    """One run in the page, under its anchor `run-<number>`."""

    anchor: str
    name: str
    run: Run
    tested: Tested
    word: str
    findings: Findings
    headlines: list[Headline]
    highlights: list[tuple[str, str]]
    counts: dict[str, dict[str, int]]
    classes: list[ClassRow]
    figures: list[Picture]
    worst: list[Picture]
    places: dict[str, str]
    """Key of metrics.json to the anchor of its row."""


def illustrated(runs: Sequence[Run]) -> set[int]:
    """Return the numbers of the runs whose figures are embedded, so that the file stays small.

    These are all of up to four runs, else the first of each method, twelve at most.
    """
    if len(runs) <= _FEW:
        return set(range(1, len(runs) + 1))
    return {members[0] for members in list(numbers_by_method(runs).values())[:_MOST]}


def section(run: Run, number: int, name: str, predictions: Predictions, *, drawn: bool) -> Section:
    """Gather what the template prints of run `number`, from 1; its figures only where `drawn`."""
    shown = pictures(run, predictions) if drawn else []
    anchor = f"run-{number}"
    return Section(
        anchor=anchor,
        name=name,
        run=run,
        tested=kept_cells(predictions),
        word="drawn cells" if run.drawn else "cells",
        findings=findings(run),
        headlines=headlines(run.metrics),
        highlights=highlights(run.config),
        counts=cell_counts(run, predictions),
        classes=class_rows(predictions),
        figures=[one for one in shown if not one.name.startswith("worst")],
        worst=[one for one in shown if one.name.startswith("worst")],
        places={key: f"{anchor}-metric-{place}" for place, key in enumerate(run.metrics, 1)},
    )
