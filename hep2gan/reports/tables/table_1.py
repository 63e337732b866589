"""The paper's Table I from runs: figures, intervals, each method against another."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults
from hep2gan.reports.tables.estimates import (
    ESTIMATED_MEASURES,
    Estimate,
    PairedResults,
    make_estimates,
    method_differences,
    pair_results,
)
from hep2gan.reports.tables.table import (
    ABSENT,
    LEVEL,
    SYNTHETIC_NOTE,
    Value,
    csv_table,
    format_interval,
    format_points,
    format_points_interval,
    hundredths,
    inline_code,
    join_lines,
    latex_table,
    markdown_table,
    mean_sd,
    p_value,
    row_identity,
    run_list,
    run_paths,
    verdict,
)
from hep2gan.statistics.bootstrap import Bootstrapped
from hep2gan.statistics.intervals import Interval, wilson
from hep2gan.statistics.significance import holm

NO_CLASSIFIER = "no classifier"
LAST = "the last row"
REFERENCE = "the reference"


class MethodComparison(NamedTuple):
    """A method against another on the same cells; p values, and corrected over the table."""

    other: MethodResults
    cells: int
    specimens: int
    """0 where they are unknown."""
    only_here: int
    """Discordant cells that this method alone names right; under more seeds, of several."""
    only_there: int
    over_cells: Bootstrapped
    """Difference in accuracy, this less the other."""
    over_specimens: Bootstrapped | None
    mean_class_accuracy: Bootstrapped
    """Its difference; the interval is over specimens where they are known, else over cells."""
    p_cells: float
    """Exact McNemar."""
    p_specimens: float | None
    """Sign flips by specimen."""
    p_class: float
    """Of the mean class accuracy: sign flips by specimen, or by cell where they are unknown."""
    p_cells_holm: float = 1.0
    p_specimens_holm: float | None = None
    p_class_holm: float = 1.0

    @property
    def p(self) -> float:
        """The p value that decides: corrected, and the larger of both where there are both."""
        return max(self.p_cells_holm, self.p_specimens_holm or 0.0)

    @property
    def significant(self) -> bool:
        """Whether the difference is more than noise."""
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        """The same in words."""
        return verdict(self.p)


class Table1Row(NamedTuple):
    """One method. wilson: of its accuracy, where it has one seed."""

    method: MethodResults
    estimates: dict[str, Estimate]
    wilson: Interval | None
    comparison: MethodComparison | str
    """Against the reference or the next row that classifies, or why there is none."""

    @property
    def compared(self) -> bool:
        """Whether there is a comparison, or another row that none was possible with."""
        return self.comparison not in (NO_CLASSIFIER, LAST, REFERENCE)


def table_1(found: Sequence[MethodResults], reference: str = "") -> list[Table1Row]:
    """Return a row a method, in the order given.

    reference: name or title of the method that each other is compared with; empty is the row below.
    Raises Hep2ganError when it names none, several, or one that does not classify.
    """
    if reference:
        others = dict.fromkeys((method.title for method in found), _reference(found, reference))
    else:
        classify = [method for method in found if method.cells.predicted is not None]
        others = dict(zip((method.title for method in classify), classify[1:], strict=False))
    compared = {method.title: _comparison(method, others.get(method.title)) for method in found}
    corrected = dict(zip(compared, _corrected(list(compared.values())), strict=True))
    return [
        Table1Row(
            method,
            make_estimates(list(method.tests.values())),
            _wilson(method),
            corrected[method.title],
        )
        for method in found
    ]


def _reference(found: Sequence[MethodResults], reference: str) -> MethodResults:
    titles = ", ".join(method.title for method in found)
    named = [method for method in found if reference in (method.title, method.name)]
    if len(named) != 1:
        raise Hep2ganError(
            f"reference={reference} names {len(named) or 'none'} of the methods of these runs",
            "it is the one that each other is compared with",
            f"choose from {titles}",
        )
    if named[0].cells.predicted is None:
        raise Hep2ganError(f"reference={reference} has no classifier", "accuracies are compared")
    return named[0]


def _wilson(method: MethodResults) -> Interval | None:
    predicted = method.cells.predicted
    if predicted is None or len(method.tests) > 1:
        return None
    return wilson(int((predicted == method.cells.label).sum()), len(predicted))


def _comparison(method: MethodResults, other: MethodResults | None) -> MethodComparison | str:
    if method.cells.predicted is None:
        return NO_CLASSIFIER
    if other is None:
        return LAST
    if other is method:
        return REFERENCE
    pairs = pair_results(method, other)
    if isinstance(pairs, str):
        return f"{other.title}: {pairs}"
    return compare_methods(pairs, other)


def compare_methods(pairs: PairedResults, other: MethodResults) -> MethodComparison:
    """Compare two classifiers on the same cells; the p values are not corrected yet."""
    only_here, only_there = pairs.discordant
    over_cells = method_differences(pairs, specimens=False)
    over_specimens = method_differences(pairs, specimens=True) if pairs.specimens else None
    return MethodComparison(
        other,
        pairs.cells,
        pairs.specimens,
        only_here,
        only_there,
        over_cells["accuracy"],
        over_specimens["accuracy"] if over_specimens else None,
        (over_specimens or over_cells)["mean_class_accuracy"],
        pairs.p_cells(),
        pairs.p_specimens(),
        pairs.p_mean_class_accuracy(),
    )


def _corrected(found: Sequence[MethodComparison | str]) -> list[MethodComparison | str]:
    """Correct p values by Holm, each kind as one family."""
    compared = [one for one in found if isinstance(one, MethodComparison)]
    over_cells = iter(holm([one.p_cells for one in compared]))
    by_class = iter(holm([one.p_class for one in compared]))
    known = [one.p_specimens for one in compared if one.p_specimens is not None]
    over_specimens = iter(holm(known))
    return [
        one
        if isinstance(one, str)
        else one._replace(
            p_cells_holm=next(over_cells),
            p_class_holm=next(by_class),
            p_specimens_holm=None if one.p_specimens is None else next(over_specimens),
        )
        for one in found
    ]


def table_1_csv(rows: Sequence[Table1Row]) -> str:
    """A line a method: fractions, not percentages."""
    return csv_table([_line(row) for row in rows])


def _line(row: Table1Row) -> dict[str, Value]:
    method = row.method
    line = row_identity(method)
    line |= {"seeds": len(method.tests), "runs": len(method.runs), "cells": len(method.cells)}
    line["specimens"] = method.cells.specimens or None
    for measure in ESTIMATED_MEASURES:
        line |= estimate_columns(measure, row.estimates.get(measure))
        printed = method.published
        line[f"{measure}_paper"] = printed and printed.metrics.get(f"test/{measure}")
    line |= interval_ends("accuracy_wilson", row.wilson)
    return line | _comparison_line(row.comparison) | {"run_paths": run_paths(method.runs)}


def estimate_columns(measure: str, found: Estimate | None) -> dict[str, Value]:
    """Columns of a measure: mean, standard deviation, both intervals."""
    return {
        measure: found and found.mean,
        f"{measure}_sd": found and found.sd,
        **interval_ends(f"{measure}_cells", found and found.cells),
        **interval_ends(f"{measure}_specimens", found and found.specimens),
    }


def interval_ends(name: str, interval: Interval | None) -> dict[str, Value]:
    """Two columns, name_low and name_high."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _comparison_line(comparison: MethodComparison | str) -> dict[str, Value]:
    one = comparison if isinstance(comparison, MethodComparison) else None
    over_specimens = one and one.over_specimens
    return {
        "against": one and one.other.title,
        "paired_cells": one and one.cells,
        "only_here": one and one.only_here,
        "only_there": one and one.only_there,
        "difference": one and one.over_cells.estimate,
        **interval_ends("difference_cells", one and one.over_cells.interval),
        **interval_ends("difference_specimens", over_specimens and over_specimens.interval),
        "difference_mean_class_accuracy": one and one.mean_class_accuracy.estimate,
        **interval_ends("difference_mean_class_accuracy", one and one.mean_class_accuracy.interval),
        "p_mean_class_accuracy": one and one.p_class,
        "p_mean_class_accuracy_holm": one and one.p_class_holm,
        "p_mcnemar": one and one.p_cells,
        "p_mcnemar_holm": one and one.p_cells_holm,
        "p_specimens": one and one.p_specimens,
        "p_specimens_holm": one and one.p_specimens_holm,
        "verdict": one.verdict if one else str(comparison),
    }


_FIGURES = (
    "Percentages on the test cells. The paper's figures are of the ICPR 2016 set, one random 9 : 1 "
    "split and one run a row."
)
NOTES = (
    "Figures over several runs are mean ± standard deviation over seeds; the folds of a seed are "
    "one test set.",
    "Intervals are at 95 %: Wilson's for a method with one seed, else and besides BCa bootstrap "
    "intervals over cells and, where specimens are known, over whole specimens, whose cells are "
    "much alike: theirs is the interval for new patients.",
    "No interval stands where its units show no spread: one specimen, or all named right.",
    "Two methods are compared on cells of the same seed and fold; differences are means over "
    "seeds. McNemar's test is exact; a cell tested under several seeds counts once in it, for the "
    "method that names it right under more of them. A difference of accuracy is called more than "
    "noise where p is below 0.05 after Holm's correction over the table, by McNemar's test and, "
    "where specimens are known, by sign flips of whole specimens too; the larger p is printed. "
    "Interval and p of a mean class accuracy are over specimens where they are known, else cells.",
)


def table_1_notes(found: Sequence[MethodResults]) -> list[str]:
    """Return what must be said below a table of these methods."""
    return [
        _FIGURES,
        *NOTES,
        *([SYNTHETIC_NOTE] if any(method.is_synthetic for method in found) else []),
    ]


def table_1_markdown(rows: Sequence[Table1Row]) -> str:
    """Three tables (figures, intervals, comparisons), notes and the runs."""
    figures = []
    for row in rows:
        figures.append([inline_code(row.method.title), *_figures(row)])
        if (printed := _published(row.method)) is not None:
            figures.append([f"*{field}*" for field in printed])
    intervals = [[inline_code(row.method.title), *_intervals(row)] for row in rows]
    compared = [
        [inline_code(row.method.title), *_compared(row, inline_code)]
        for row in rows
        if row.compared
    ]
    parts = ["# Table I\n", markdown_table(["Method", *ESTIMATED_MEASURES.values()], figures)]
    parts += ["## Accuracy: 95 % intervals\n", markdown_table(_INTERVALS, intervals)]
    if compared:
        parts += [f"## {_heading(rows, inline_code)}\n", markdown_table(_COMPARED, compared)]
    parts += [note + "\n" for note in table_1_notes([row.method for row in rows])]
    return "\n".join([*parts, run_list({row.method.title: row.method.runs for row in rows})])


def table_1_latex(rows: Sequence[Table1Row]) -> str:
    """One `table*` a part: figures with the paper's below ours, intervals, comparisons."""
    figures = []
    for row in rows:
        printed = _published(row.method)
        own = [row.method.title, *_figures(row)]
        figures.append([own] if printed is None else [own, printed])
    intervals = [[row.method.title, *_intervals(row)] for row in rows]
    compared = [[row.method.title, *_compared(row, str)] for row in rows if row.compared]
    below = table_1_notes([row.method for row in rows])
    text = "% needs \\usepackage{booktabs,graphicx}\n"
    text += "".join(
        f"% {join_lines(row.method.title)}: {run_paths(row.method.runs)}\n" for row in rows
    )
    text += latex_table(
        ["Method", *ESTIMATED_MEASURES.values()],
        figures,
        "Methods on the test cells.",
        "tab:methods",
        below,
    )
    text += latex_table(_INTERVALS, [intervals], "Accuracy: 95 % intervals.", "tab:intervals")
    if compared:
        words = _heading(rows, str)
        text += latex_table(_COMPARED, [compared], f"{words}.", "tab:comparisons")
    return text


_INTERVALS = ["Method", "Tested on", "Specimens", "Wilson", "Over cells", "Over specimens"]
_COMPARED = ["Method", "Against", "Same cells", "Right here alone", "Right there alone"]
_COMPARED += ["Accuracy, points", "Over cells", "Over specimens", "Mean class accuracy, points"]
_COMPARED += ["McNemar, Holm", "Verdict"]


def _heading(rows: Sequence[Table1Row], named: Callable[[str], str]) -> str:
    reference = [named(row.method.title) for row in rows if row.comparison == REFERENCE]
    return f"Each method against {reference[0] if reference else 'the row below'}"


def _figures(row: Table1Row) -> list[str]:
    found = [row.estimates.get(measure) for measure in ESTIMATED_MEASURES]
    return [ABSENT if one is None else mean_sd(one.mean, one.sd) for one in found]


def _published(method: MethodResults) -> list[str] | None:
    if (printed := method.published) is None:
        return None
    values = [printed.metrics.get(f"test/{measure}") for measure in ESTIMATED_MEASURES]
    return [f"Paper: {printed.name}", *map(hundredths, values)]


def _intervals(row: Table1Row) -> list[str]:
    specimens = row.method.cells.specimens
    found = row.estimates.get("accuracy")
    ends = (row.wilson, found.cells, found.specimens) if found else (None, None, None)
    return [row.method.cells_in_words, str(specimens or "unknown"), *map(format_interval, ends)]


def _compared(row: Table1Row, named: Callable[[str], str]) -> list[str]:
    comparison = row.comparison
    if isinstance(comparison, str):
        return [*[ABSENT] * (len(_COMPARED) - 2), comparison]
    over_specimens, by_class = comparison.over_specimens, comparison.mean_class_accuracy
    return [
        named(comparison.other.title),
        f"{comparison.cells:,}",
        str(comparison.only_here),
        str(comparison.only_there),
        format_points(comparison.over_cells.estimate),
        format_points_interval(comparison.over_cells.interval),
        format_points_interval(over_specimens.interval) if over_specimens else ABSENT,
        f"{format_points(by_class.estimate)} ({format_points_interval(by_class.interval)}; "
        f"{p_value(comparison.p_class_holm)})",
        p_value(comparison.p_cells_holm),
        comparison.verdict,
    ]
