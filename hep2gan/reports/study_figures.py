"""The figures of a set of runs: methods side by side, intervals, specimens, worst cells."""

from collections.abc import Collection, Mapping

from matplotlib.figure import Figure

from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES, RUN_FIGURES, FigureSpec
from hep2gan.reports.figures.intervals import plot_intervals
from hep2gan.reports.study import Study
from hep2gan.reports.tables.estimates import Estimate
from hep2gan.reports.tables.table_1 import REFERENCE
from hep2gan.runs.predictions import Predictions

_FEW = 4
_WORST = {"worst_segmented": "dice", "worst_classified": "accuracy"}
_RUN_FIGURES = {spec.name: spec for spec in RUN_FIGURES}

FIGURE_NAMES = (*(spec.name for spec in COMPARISON_FIGURES), "intervals", "specimens", *_WORST)


def study_figures(study: Study, names: Collection[str]) -> list[FigureSpec[Study]]:
    """Return the figures of these names that the runs may have, in the order of a report.

    Methods that are too many or of different classes do not stand side by side
    (`Study.not_comparable`); nor, where classes differ, is any of them the best.
    """
    specs = [_INTERVALS]
    if study.first_seeds and not study.not_comparable:
        specs = [*(_comparison(study, spec) for spec in COMPARISON_FIGURES), _INTERVALS]
    if len({method.cells.classes for method in study.methods}) == 1:
        if "specimens" in names:
            specs += [_of_method(study, "specimens", title) for title in _specimen_methods(study)]
        for name, measure in _WORST.items():
            # The best method: what even it gets wrong.
            best = _best(study, measure) if name in names else []
            specs += [_of_method(study, name, title) for title in best]
    return [spec for spec in specs if spec.name in names]


def _comparison(study: Study, spec: FigureSpec[Mapping[str, Predictions]]) -> FigureSpec[Study]:
    note = ""
    if len(study.results) > len(study.first_seeds):
        folds = any(run.fold is not None for run in study.runs)
        note = f" Shown is the first seed of each method{', its folds pooled' if folds else ''}."
    return FigureSpec(
        spec.name, spec.title, spec.caption + note, lambda study: spec.plot(study.first_seeds)
    )


def _of_method(study: Study, name: str, title: str) -> FigureSpec[Study]:
    """Return the figure of one method, which is named where there are several."""
    spec = _RUN_FIGURES[name]
    return FigureSpec(
        name,
        spec.title,
        spec.caption,
        lambda study: spec.plot(study.predictions(title)),
        title if len(study.methods) > 1 else "",
    )


def _plot_accuracies(study: Study) -> Figure | None:
    """Plot a row a split with a dot a method, where there are several, else a row a method."""
    rows: dict[str, dict[str, Estimate]] = {}
    for row in study.leakage[0]:
        estimates = rows.setdefault(row.protocol.words, {})
        estimates[row.method.title] = row.estimates["accuracy"]
    if not rows:
        rows = {
            row.method.title: {"accuracy": row.estimates["accuracy"]}
            for row in study.table_1
            if "accuracy" in row.estimates
        }
    return plot_intervals(rows) if len(rows) > 1 else None


_INTERVALS: FigureSpec[Study] = FigureSpec(
    "intervals",
    "Accuracy and its interval",
    "Accuracy with its 95 % interval: over specimens where they are known, else over cells.",
    _plot_accuracies,
)


def _specimen_methods(study: Study) -> list[str]:
    """Return all methods where they are few, else the most accurate and the reference."""
    titles = [method.title for method in study.methods]
    if len(titles) > _FEW:
        titles = _best(study, "accuracy")
        titles += [row.method.title for row in study.table_1 if row.comparison == REFERENCE]
    return list(dict.fromkeys(titles))


def _best(study: Study, measure: str) -> list[str]:
    """Return the title of the method of the highest mean over its seeds, if any has the measure."""
    means = {
        row.method.title: row.estimates[measure].mean
        for row in study.table_1
        if measure in row.estimates
    }
    return [max(means, key=lambda title: means[title])] if means else []
