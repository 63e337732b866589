"""The paper's Table I from runs: figures, intervals, each method against another."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import Method
from hep2gan.reports.tables.estimates import Estimate, differences, estimates
from hep2gan.reports.tables.notation import LEVEL, verdict
from hep2gan.reports.tables.pairs import Pairs, paired
from hep2gan.statistics.bootstrap import Bootstrapped
from hep2gan.statistics.intervals import Interval, wilson
from hep2gan.statistics.significance import holm

NO_CLASSIFIER = "no classifier"
LAST = "the last row"
REFERENCE = "the reference"


class Comparison(NamedTuple):
    """A method against another on the same cells; p values, and corrected over the table."""

    other: Method
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


class Row(NamedTuple):
    """One method. wilson: of its accuracy, where it has one seed."""

    method: Method
    estimates: dict[str, Estimate]
    wilson: Interval | None
    comparison: Comparison | str
    """Against the reference or the next row that classifies, or why there is none."""

    @property
    def compared(self) -> bool:
        """Whether there is a comparison, or another row that none was possible with."""
        return self.comparison not in (NO_CLASSIFIER, LAST, REFERENCE)


def table_1(found: Sequence[Method], reference: str = "") -> list[Row]:
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
        Row(
            method,
            estimates(list(method.tests.values())),
            _wilson(method),
            corrected[method.title],
        )
        for method in found
    ]


def _reference(found: Sequence[Method], reference: str) -> Method:
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


def _wilson(method: Method) -> Interval | None:
    predicted = method.cells.predicted
    if predicted is None or len(method.tests) > 1:
        return None
    return wilson(int((predicted == method.cells.label).sum()), len(predicted))


def _comparison(method: Method, other: Method | None) -> Comparison | str:
    if method.cells.predicted is None:
        return NO_CLASSIFIER
    if other is None:
        return LAST
    if other is method:
        return REFERENCE
    pairs = paired(method, other)
    if isinstance(pairs, str):
        return f"{other.title}: {pairs}"
    return compare(pairs, other)


def compare(pairs: Pairs, other: Method) -> Comparison:
    """Compare two classifiers on the same cells; the p values are not corrected yet."""
    only_here, only_there = pairs.discordant
    over_cells = differences(pairs, specimens=False)
    over_specimens = differences(pairs, specimens=True) if pairs.specimens else None
    return Comparison(
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


def _corrected(found: Sequence[Comparison | str]) -> list[Comparison | str]:
    """Correct p values by Holm, each kind as one family."""
    compared = [one for one in found if isinstance(one, Comparison)]
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
