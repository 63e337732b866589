"""The paper's Table I from runs: figures, intervals, each method against another."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, PublishedRow
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    ESTIMATED_MEASURES,
    Estimate,
    PairedResults,
    estimate_cell,
    make_estimates,
    pair_results,
)
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Part,
    Row,
    Table,
    format_interval,
    format_points,
    format_points_interval,
    hundredths,
    interval_cell,
    interval_values,
    method_cell,
    p_value,
    value_cell,
    verdict,
)
from hep2gan.statistics.bootstrap import Bootstrapped
from hep2gan.statistics.significance import holm

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

NO_CLASSIFIER = "no classifier"
LAST = "the last row"
REFERENCE = "the reference"


class MethodComparison(NamedTuple):
    """A method against another on the same cells.

    Attributes:
        other: The other method.
        pairs: Results of both on the same cells.
        p_cells_holm: p of McNemar's test, after Holm's correction over the table.
        p_specimens_holm: p of sign flips by specimen, corrected; None if specimens are unknown.
        p_class_holm: p of the mean class accuracy, corrected.
    """

    other: MethodResults
    pairs: PairedResults
    p_cells_holm: float = 1.0
    p_specimens_holm: float | None = None
    p_class_holm: float = 1.0

    @property
    def mean_class_accuracy(self) -> Bootstrapped:
        """Its difference; the interval is over specimens if they are known, else over cells."""
        return (self.pairs.over_specimens or self.pairs.over_cells)["mean_class_accuracy"]

    @property
    def p(self) -> float:
        """The decisive p value: corrected, and the larger of both if there are both."""
        return max(self.p_cells_holm, self.p_specimens_holm or 0.0)


class Table1Row(NamedTuple):
    """One method with its measures.

    Attributes:
        method: The method.
        estimates: Its measures.
        comparison: Comparison with the reference or the next row that classifies, or why there is
            none.
    """

    method: MethodResults
    estimates: dict[str, Estimate]
    comparison: MethodComparison | str

    @property
    def compared(self) -> bool:
        """Whether the method is compared, or could not be compared with an existing other row."""
        return self.comparison not in (NO_CLASSIFIER, LAST, REFERENCE)


def table_1_rows(methods: Sequence[MethodResults], reference: str = "") -> list[Table1Row]:
    """Estimate the measures of each method and compare it with another, in the order given.

    Args:
        methods: All methods of the report.
        reference: Name or title of the method that each other is compared with; empty for the one
            in the row below.

    Raises:
        Hep2ganError: If the reference names none, several, or one that does not classify.
    """
    if reference:
        others = dict.fromkeys((method.title for method in methods), _reference(methods, reference))
    else:
        classify = [method for method in methods if method.cells.predicted is not None]
        others = dict(zip((method.title for method in classify), classify[1:], strict=False))
    compared = {method.title: _comparison(method, others.get(method.title)) for method in methods}
    corrected = dict(zip(compared, _corrected(list(compared.values())), strict=True))
    return [
        Table1Row(method, make_estimates(list(method.tests.values())), corrected[method.title])
        for method in methods
    ]


def _reference(methods: Sequence[MethodResults], reference: str) -> MethodResults:
    named = [method for method in methods if reference in (method.title, method.name)]
    if len(named) != 1:
        raise Hep2ganError(
            f"reference={reference} names {len(named) or 'none'} of the methods of these runs",
            "it is the one that each other is compared with",
            f"choose from {', '.join(method.title for method in methods)}",
        )
    if named[0].cells.predicted is None:
        raise Hep2ganError(f"reference={reference} has no classifier", "accuracies are compared")
    return named[0]


def _comparison(method: MethodResults, other: MethodResults | None) -> MethodComparison | str:
    """Compare two classifiers; the p values are not corrected yet."""
    if method.cells.predicted is None:
        return NO_CLASSIFIER
    if other is None:
        return LAST
    if other is method:
        return REFERENCE
    pairs = pair_results(method, other)
    return f"{other.title}: {pairs}" if isinstance(pairs, str) else MethodComparison(other, pairs)


def _corrected(comparisons: Sequence[MethodComparison | str]) -> list[MethodComparison | str]:
    """Correct p values by Holm, each kind as one family."""
    pairs = [one.pairs for one in comparisons if isinstance(one, MethodComparison)]
    over_cells = iter(holm([one.p_cells for one in pairs]))
    by_class = iter(holm([one.p_mean_class_accuracy for one in pairs]))
    over_specimens = iter(holm([one.p_specimens for one in pairs if one.p_specimens is not None]))
    return [
        one
        if isinstance(one, str)
        else one._replace(
            p_cells_holm=next(over_cells),
            p_class_holm=next(by_class),
            p_specimens_holm=None if one.pairs.p_specimens is None else next(over_specimens),
        )
        for one in comparisons
    ]


_NOTE = (
    "Percentages on the test cells. The paper's figures are of the ICPR 2016 set, one random 9 : 1 "
    "split and one run a row."
)
NOTES = (
    "Figures over several runs are mean ± standard deviation over seeds; the folds of a seed are "
    "one test set.",
    "Intervals are at 95 %: Wilson's for a method with one seed, else and besides BCa bootstrap "
    "intervals over cells and, where specimens are known, over whole specimens, whose cells are "
    "similar: this is the interval for new patients.",
    "An interval is missing if its units show no spread: one specimen, or no errors.",
    "Two methods are compared on cells of the same seed and fold; differences are means over "
    "seeds. McNemar's test is exact; a cell tested under several seeds counts once in it, for the "
    "method that classifies it correctly under more of them. A difference of accuracy is called "
    "more than noise if p is below 0.05 after Holm's correction over the table, by McNemar's test "
    "and, where specimens are known, by sign flips of whole specimens; the larger p is printed. "
    "Interval and p of a mean class accuracy are over specimens where they are known, else cells.",
)


@report_table("table_1", order=1)
def table_1(study: "Study") -> Table:
    """Build the table of measures with the paper's below, of intervals, and of comparisons.

    Args:
        study: The runs of the report.
    """
    rows = study.table_1
    reference = "".join(row.method.title for row in rows if row.comparison == REFERENCE)
    against = "Each method against" if reference else "Each method against the row below"
    parts = [
        Part("Methods on the test cells", label="methods", ruled=True),
        Part("Accuracy: 95 % intervals", label="intervals"),
        Part(against, reference, "comparisons"),
    ]
    lines = []
    for row in rows:
        lines.append(
            Row([method_cell(row.method)], [_measures(row), _intervals(row), _compared(row)])
        )
        if (printed := row.method.published) is not None:
            lines.append(published_row("Method", printed, ESTIMATED_MEASURES))
    return Table("Table I", lines, parts, notes=(_NOTE, *NOTES), outputs=("md", "tex", "csv"))


def _measures(row: Table1Row) -> list[Cell]:
    method, printed = row.method, row.method.published
    counts = {"seeds": len(method.tests), "runs": len(method.runs), "cells": len(method.cells)}
    found = [Cell(values=counts | {"specimens": method.cells.specimens or None})]
    for measure in ESTIMATED_MEASURES:
        paper = printed and printed.metrics.get(f"test/{measure}")
        found.append(estimate_cell(measure, row.estimates.get(measure)))
        found.append(Cell(values={f"{measure}_paper": paper}))
    return found


def published_row(heading: str, printed: PublishedRow, measures: Iterable[str]) -> Row:
    """Print the paper's results.

    Args:
        heading: Heading of the first column.
        printed: The paper's row.
        measures: Measures to print, of `ESTIMATED_MEASURES`.
    """
    return Row(
        [Cell(heading, f"Paper: {printed.name}")],
        [metric_cells(printed.metrics, measures)],
        kind="paper",
    )


def metric_cells(
    metrics: Mapping[str, float], measures: Iterable[str], runs: Sequence[Path] = ()
) -> list[Cell]:
    """Print measures from metrics.json, or dashes.

    Args:
        metrics: Content of metrics.json.
        measures: Measures to print, of `ESTIMATED_MEASURES`.
        runs: Run folders to link to.
    """
    return [
        Cell(ESTIMATED_MEASURES[name], hundredths(metrics.get(f"test/{name}")), runs=runs)
        for name in measures
    ]


def _intervals(row: Table1Row) -> list[Cell]:
    accuracy = row.estimates.get("accuracy")
    wilson = row.method.cells.wilson() if len(row.method.tests) == 1 else None
    return [
        Cell("Tested on", row.method.cells_in_words),
        Cell("Specimens", str(row.method.cells.specimens or "unknown")),
        interval_cell("Wilson", "accuracy_wilson", wilson),
        Cell("Over cells", format_interval(accuracy and accuracy.cells)),
        Cell("Over specimens", format_interval(accuracy and accuracy.specimens)),
    ]


def _compared(row: Table1Row) -> list[Cell]:
    one = row.comparison if isinstance(row.comparison, MethodComparison) else None
    accuracy = one and one.pairs.over_cells["accuracy"]
    over_specimens = one and one.pairs.over_specimens.get("accuracy")
    by_class = "difference_mean_class_accuracy"
    cells = [
        value_cell("Against", "against", one and one.other.title)._replace(code=one is not None),
        value_cell("Same cells", "paired_cells", one and len(one.pairs.each), "{:,}".format),
        value_cell("Correct only here", "only_here", one and one.pairs.discordant[0]),
        value_cell("Correct only there", "only_there", one and one.pairs.discordant[1]),
        value_cell("Accuracy, points", "difference", accuracy and accuracy.estimate, format_points),
        interval_cell(
            "Over cells",
            "difference_cells",
            accuracy and accuracy.interval,
            format_points_interval,
        ),
        interval_cell(
            "Over specimens",
            "difference_specimens",
            over_specimens and over_specimens.interval,
            format_points_interval,
        ),
        Cell(
            "Mean class accuracy, points",
            f"{format_points(one.mean_class_accuracy.estimate)} "
            f"({format_points_interval(one.mean_class_accuracy.interval)}; "
            f"{p_value(one.p_class_holm)})"
            if one
            else ABSENT,
            {
                by_class: one and one.mean_class_accuracy.estimate,
                **interval_values(by_class, one and one.mean_class_accuracy.interval),
                "p_mean_class_accuracy": one and one.pairs.p_mean_class_accuracy,
                "p_mean_class_accuracy_holm": one and one.p_class_holm,
                "p_mcnemar": one and one.pairs.p_cells,
            },
        ),
        value_cell("McNemar, Holm", "p_mcnemar_holm", one and one.p_cells_holm, p_value),
        Cell(
            values={
                "p_specimens": one and one.pairs.p_specimens,
                "p_specimens_holm": one and one.p_specimens_holm,
            }
        ),
        value_cell("Verdict", "verdict", verdict(one.p) if one else str(row.comparison)),
    ]
    return cells if row.compared else [cell._replace(heading="") for cell in cells]
