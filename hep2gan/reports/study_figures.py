"""The figures of a set of runs: methods side by side, intervals, specimens, worst cells."""

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES, RUN_FIGURES
from hep2gan.reports.figures.intervals import IntervalGroup, PlottedInterval, interval_dots
from hep2gan.reports.page.elements import (
    CALIBRATION,
    INTERVALS,
    SIDE_BY_SIDE,
    SPECIMENS,
    WORST,
)
from hep2gan.reports.study import Study
from hep2gan.reports.tables.estimates import Estimate
from hep2gan.reports.tables.table_1 import REFERENCE

_FEW = 4
_WORST = {"worst_segmented": "dice", "worst_classified": "accuracy"}
_SINGLE = {drawing.name: drawing for drawing in RUN_FIGURES}


class StudyFigure(NamedTuple):
    """One figure: its file name, its heading in the page, its words, how it is drawn.

    kind: what it is called in `evidence.NAMES`; the name of one method's figure has the method's.
    """

    kind: str
    name: str
    heading: str
    title: str
    caption: str
    draw: Callable[[], Figure | None]


def make_study_figures(study: Study, kinds: Collection[str]) -> list[StudyFigure]:
    """Return the figures of these kinds that the runs may have, in the order of a report.

    None is drawn yet. Methods that are too many or of different classes are not shown side by
    side (`Study.not_shown`); nor, where classes differ, is any of them the best.
    """
    found = [_intervals(study)]
    if study.shown and not study.not_shown:
        found = [*_comparisons(study), *found]
    if len({method.cells.classes for method in study.methods}) == 1:
        found += _specimens(study) if "specimens" in kinds else []
        found += [one for kind in _WORST if kind in kinds for one in _worst(study, kind)]
    return [one for one in found if one.kind in kinds]


def _comparisons(study: Study) -> list[StudyFigure]:
    which = ""
    if len(study.results) > len(study.shown):
        folds = any(run.fold is not None for run in study.runs)
        which = f" Shown is the first seed of each method{', its folds pooled' if folds else ''}."
    return [
        StudyFigure(
            one.name,
            one.name,
            CALIBRATION if one.name == "calibration" else SIDE_BY_SIDE,
            one.title,
            one.caption + which,
            partial(one.draw, study.shown),
        )
        for one in COMPARISON_FIGURES
    ]


def _intervals(study: Study) -> StudyFigure:
    caption = (
        "Accuracy with its 95 % interval: over specimens where they are known, else over cells."
    )
    draw = partial(_accuracies, study)
    title = "Accuracy and its interval"
    return StudyFigure("intervals", "intervals", INTERVALS, title, caption, draw)


def _accuracies(study: Study) -> Figure | None:
    """A row a split with a dot a method, where there are several splits, else a row a method."""
    groups: dict[str, dict[str, PlottedInterval]] = {}
    for protocol_row in study.leakage[0]:
        own = groups.setdefault(protocol_row.protocol.words, {})
        own[protocol_row.method.title] = _dot(protocol_row.estimates["accuracy"])
    if not groups:
        for row in study.table_1:
            if "accuracy" in row.estimates:
                groups[row.method.title] = {"accuracy": _dot(row.estimates["accuracy"])}
    if len(groups) < 2:
        return None
    return interval_dots([IntervalGroup(label, dots) for label, dots in groups.items()])


def _dot(found: Estimate) -> PlottedInterval:
    return PlottedInterval(found.mean, *(found.interval or (math.nan, math.nan)))


def _specimens(study: Study) -> list[StudyFigure]:
    """One figure a method where they are few, else the most accurate's and the reference's."""
    titles = [method.title for method in study.methods]
    if len(titles) > _FEW:
        titles = _best(study, "accuracy")
        rows = study.table_1
        titles += [row.method.title for row in rows if row.comparison == REFERENCE]
    return [_of_one(study, "specimens", SPECIMENS, title) for title in dict.fromkeys(titles)]


def _worst(study: Study, kind: str) -> list[StudyFigure]:
    """Return the worst cells of the best method: what even it gets wrong."""
    return [_of_one(study, kind, WORST, title) for title in _best(study, _WORST[kind])]


def _of_one(study: Study, kind: str, heading: str, name: str) -> StudyFigure:
    drawing = _SINGLE[kind]
    several = len(study.methods) > 1
    file = f"{kind}_{name.replace('/', '_')}" if several else kind
    title = f"{drawing.title}: {name}" if several else drawing.title
    return StudyFigure(
        kind, file, heading, title, drawing.caption, lambda: drawing.draw(study.predictions(name))
    )


def _best(study: Study, measure: str) -> list[str]:
    """Return the title of the method of the highest mean over its seeds, if any has the measure."""
    found = {
        row.method.title: row.estimates[measure].mean
        for row in study.table_1
        if measure in row.estimates
    }
    name = max(found, key=lambda name: found[name], default=None)
    return [] if name is None else [name]
