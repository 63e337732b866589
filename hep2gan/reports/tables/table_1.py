"""The paper's Table I from runs: figures, intervals, each method against another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import MethodResults, PublishedRow
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.estimates import (
    BY_CELL,
    ESTIMATED_MEASURES,
    Estimate,
    PairedResults,
    estimate_cell,
    interval_in_words,
    intervals_in_words,
    make_estimates,
    pair_results,
    too_few,
)
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Part,
    Row,
    Table,
    format_interval,
    format_pixels,
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
from hep2gan.statistics.methods import FEWEST_SEEDS
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
        p: p of each measure's difference, after Holm's correction over the table.
    """

    other: MethodResults
    pairs: PairedResults
    p: Mapping[str, float] = MappingProxyType({})

    @property
    def main(self) -> str:
        """The measure that the verdict is on: accuracy, or Dice of methods without a classifier."""
        return "accuracy" if "accuracy" in self.pairs.differences else "dice"

    @property
    def verdict(self) -> str:
        """Whether the main measure differs by more than noise."""
        return self.verdict_on(self.main)

    def verdict_on(self, measure: str) -> str:
        """Say whether a measure differs by more than noise.

        Args:
            measure: A measure of `BY_CELL` that both methods have.
        """
        folded = any(result.run.fold is not None for result in self.other.results)
        return verdict(self.pairs.differences[measure], self.p.get(measure, 1.0), folded=folded)

    def in_words(self, measure: str) -> str:
        """Print a difference with its interval and p value.

        Args:
            measure: A measure of `BY_CELL` that both methods have.
        """
        found, form = self.pairs.differences[measure], _form(measure)
        if found.few is not None:
            why = too_few(found.few, measure, self.pairs.each, self.pairs.unit)
            return f"{form(found.estimate)} (no interval: {why})"
        if found.same:
            return "the same"
        interval = format_interval(found.interval, form, " to ")
        return f"{form(found.estimate)} ({interval}; {p_value(self.p[measure])})"


def _form(measure: str) -> Callable[[float], str]:
    return format_pixels if measure == "hd95" else format_points


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
    """Compare two methods; the p values are not corrected yet."""
    if other is method:
        return REFERENCE
    if method.cells.predicted is None and (other is None or other.cells.dice is None):
        return NO_CLASSIFIER
    if other is None:
        return LAST
    pairs = pair_results(method, other)
    if isinstance(pairs, str):
        return f"{other.title}: {pairs}"
    return MethodComparison(other, pairs) if pairs.differences else NO_CLASSIFIER


def _corrected(comparisons: Sequence[MethodComparison | str]) -> list[MethodComparison | str]:
    """Correct p values by Holm, those of each measure as one family."""
    known = [one for one in comparisons if isinstance(one, MethodComparison)]
    p: dict[int, dict[str, float]] = {id(one): {} for one in known}
    for measure in BY_CELL:
        # What cannot be tested is no comparison of the family, nor are masks of one generator.
        family = [
            one for one in known if (found := one.pairs.differences.get(measure)) and found.tested
        ]
        values = holm([one.pairs.differences[measure].p for one in family])
        for one, value in zip(family, values, strict=True):
            p[id(one)][measure] = value
    return [one if isinstance(one, str) else one._replace(p=p[id(one)]) for one in comparisons]


_NOTE = (
    "Percentages on the test cells. The paper's figures are of the ICPR 2016 set, one random 9 : 1 "
    "split and one run a row."
)
_NOTES = (
    "Figures over several runs are mean ± standard deviation over seeds; the folds of a seed are "
    "one test set.",
    "Intervals are at 95 % and of the mean over these trainings. Those over specimens, or over "
    "blocks of ids where specimens are unknown, are t intervals on the logit scale. Those over "
    "cells (Wilson's for a method with one seed) take cells for independent: the cells of a "
    "specimen are not, and they are too narrow. Macro precision, recall and F1 have none.",
    "Two methods are compared on cells of the same seed and fold; differences are means over "
    "seeds. With several seeds, interval and p are of methods, over other seeds and other "
    "{units}: a two-way analysis of variance of seeds × {units}. A difference of accuracy is "
    f"called more than noise if p is below 0.05 after Holm's correction over the table. With fewer "
    f"than {FEWEST_SEEDS} seeds there is no verdict on methods; with one, interval and p are of "
    "these two trainings, over {units} alone.",
)


def table_1_notes(methods: Sequence[MethodResults]) -> tuple[str, ...]:
    """Say what the intervals and comparisons of these methods are over, and hold for.

    Args:
        methods: All methods of the table.
    """
    units = {f"{method.cells.unit}s" for method in methods}
    words = units.pop() if len(units) == 1 else "specimens (blocks or cells where unknown)"
    notes = [note.format(units=words) for note in _NOTES]
    if words == "cells":
        notes.append(
            "Cells of a specimen are not independent: what is tested over cells holds for these "
            "specimens alone."
        )
    return (*notes, _for_whom(methods))


def _for_whom(methods: Sequence[MethodResults]) -> str:
    """Say whether intervals hold for new patients: only if no test specimen was trained on."""
    shared = [
        result.run.metrics.get("leakage/shared_specimens") if result.cells.specimens else None
        for method in methods
        for result in method.results
    ]
    if all(count == 0 for count in shared):
        whom = "patients of the same laboratory"
        if any(method.is_synthetic for method in methods):
            whom = "synthetic specimens of the same laboratory"
        return (
            "No test specimen was trained on: intervals over specimens hold for these trainings on "
            f"new {whom}."
        )
    if any(shared):
        return (
            "Test specimens were trained on too: no interval here is one for new patients, on "
            "whom accuracy may be much lower."
        )
    return (
        "Whether test specimens were trained on is not known of all runs: no interval here is "
        "called one for new patients."
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
        Part("95 % intervals", label="intervals"),
        Part(against, reference, "comparisons"),
        Part(f"Masks: {against[0].lower()}{against[1:]}", reference, "masks"),
    ]
    lines = []
    for row in rows:
        lines.append(
            Row(
                [method_cell(row.method)],
                [_measures(row), _intervals(row), _compared(row), _masks_compared(row)],
            )
        )
        if (printed := row.method.published) is not None:
            lines.append(published_row("Method", printed, ESTIMATED_MEASURES))
    return Table(
        "Table I",
        lines,
        parts,
        notes=(_NOTE, *table_1_notes(study.methods)),
        outputs=("md", "tex", "csv"),
    )


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
    over_cells, over_specimens = intervals_in_words(row.estimates.get("accuracy"))
    return [
        Cell("Tested on", row.method.cells_in_words),
        Cell("Specimens", row.method.cells.units_in_words),
        Cell("Accuracy over cells", over_cells),
        Cell("Accuracy over specimens", over_specimens),
        Cell("Mean class accuracy", interval_in_words(row.estimates.get("mean_class_accuracy"))),
    ]


def _compared(row: Table1Row) -> list[Cell]:
    one = row.comparison if isinstance(row.comparison, MethodComparison) else None
    classify = one if one is not None and one.main == "accuracy" else None
    found = classify and classify.pairs.differences["accuracy"]
    cells = [
        value_cell("Against", "against", one and one.other.title)._replace(code=one is not None),
        value_cell("Same cells", "paired_cells", one and len(one.pairs.each), "{:,}".format),
        value_cell("Seeds", "paired_seeds", one and len(one.pairs.first)),
        value_cell("Correct only here", "only_here", classify and classify.pairs.discordant[0]),
        value_cell("Correct only there", "only_there", classify and classify.pairs.discordant[1]),
        value_cell("Accuracy, points", "difference", found and found.estimate, format_points),
        interval_cell(
            "95 % interval", "difference", found and found.interval, format_points_interval
        ),
        _difference_cell("Mean class accuracy, points", "mean_class_accuracy", classify),
        Cell(
            values={
                "p": found and found.p,
                "p_holm": classify and classify.p.get("accuracy"),
                "tested_over": one
                and f"{'seeds × ' * (len(one.pairs.first) > 1)}{one.pairs.unit}s",
            }
        ),
        value_cell("Verdict", "verdict", one.verdict if one else str(row.comparison)),
    ]
    return cells if row.compared else [cell._replace(heading="") for cell in cells]


_MASKS = {
    "dice": "Dice, points",
    "boundary_f1": "Boundary F1, points",
    "hd95": "95 % Hausdorff, px",
}


def _masks_compared(row: Table1Row) -> list[Cell]:
    """Print the differences of masks, where both methods generate them."""
    one = row.comparison if isinstance(row.comparison, MethodComparison) else None
    masks = one if one is not None and "dice" in one.pairs.differences else None
    cells = [_difference_cell(heading, measure, masks) for measure, heading in _MASKS.items()]
    if masks is None:
        return [cell._replace(heading="") for cell in cells]
    against = Cell("Against", masks.other.title, code=True)
    return [against, *cells, Cell("Verdict on Dice", masks.verdict_on("dice"))]


def _difference_cell(heading: str, measure: str, one: MethodComparison | None) -> Cell:
    found = one and one.pairs.differences.get(measure)
    name = f"difference_{measure}"
    return Cell(
        heading,
        one.in_words(measure) if one and found else ABSENT,
        {
            name: found and found.estimate,
            **interval_values(name, found and found.interval),
            f"p_{measure}": found and found.p,
            f"p_{measure}_holm": one.p.get(measure) if one and found else None,
        },
    )
