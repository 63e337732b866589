"""Results on other labelled sets than the runs' own, by method and set."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from hep2gan.reports.naming import group_pairs
from hep2gan.reports.results import MethodResults, TestCells, pool
from hep2gan.reports.tables.estimates import Estimate, make_estimates
from hep2gan.runs.external import ExternalTest, external_predictions, external_tests
from hep2gan.runs.fields import FieldsTest, fields_test
from hep2gan.runs.folder import RunFolder

_ELLIPSE = "baseline/ellipse_dice"


class ExternalResult(NamedTuple):
    """What a method does on one other set.

    Attributes:
        method: The method with those of its runs that were tested on the set.
        name: Name of the test.
        facts: What the first run was tested on.
        cells: Every tested cell once, as the first run has it.
        own: Measures on the same runs' own test cells.
        estimates: Measures on the other set, where each run is a test set of its own.
        metrics: metrics.json of each run's test.
        fields: How those of the runs do that were tested on its whole fields.
    """

    method: MethodResults
    name: str
    facts: ExternalTest
    cells: TestCells
    own: dict[str, Estimate]
    estimates: dict[str, Estimate]
    metrics: tuple[dict[str, float], ...]
    fields: tuple[FieldsTest, ...] = ()


def external_results(methods: Sequence[MethodResults]) -> list[ExternalResult]:
    """Collect the external tests of all runs; seeds and folds of a method are one result.

    Args:
        methods: The methods of the report.

    Returns:
        A result for each method and set; runs tested under one name on different sets, or with
        other classes matched, are apart.

    Raises:
        Hep2ganError: If a file of a test is damaged.
    """
    found = []
    for method in methods:
        tests = group_pairs(
            ((name, facts.fingerprint, tuple(facts.classes.items())), (result, facts))
            for result in method.results
            for name, facts in external_tests(result.run.path).items()
        )
        for (name, _, _), members in sorted(tests.items()):
            runs = replace(method, results=tuple(result for result, _ in members))
            cells = [
                TestCells.from_predictions(
                    external_predictions(result.run.path, name), outlines=False
                )
                for result, _ in members
            ]
            fields = [fields_test(result.run.path, name) for result, _ in members]
            found.append(
                ExternalResult(
                    runs,
                    name,
                    members[0][1],
                    pool(cells),
                    make_estimates(list(runs.tests.values())),
                    make_estimates(cells),
                    tuple(
                        RunFolder(RunFolder(result.run.path).external / name).metrics()
                        for result, _ in members
                    ),
                    tuple(test for test in fields if test is not None),
                )
            )
    return found


class CrossRow(NamedTuple):
    """A method on its own set and on others.

    Attributes:
        method: The method.
        own: Place of the set that it was trained on.
        estimates: Its measures on each set; none where it was not tested.
    """

    method: MethodResults
    own: int
    estimates: tuple[dict[str, Estimate], ...]

    def of(self, measure: str) -> list[Estimate | None]:
        """Return one measure on each set.

        Args:
            measure: Name of the measure.
        """
        return [one.get(measure) for one in self.estimates]


class CrossSet(NamedTuple):
    """Measures by the set that a method was trained on and the set that it was tested on.

    Attributes:
        sets: Name of each set, in the order of the columns.
        rows: The methods.
        ellipse: Dice of the inscribed ellipse on the cells of each set, mean over the tests; None
            where there are no masks.
    """

    sets: tuple[str, ...]
    rows: tuple[CrossRow, ...]
    ellipse: tuple[float | None, ...]


def cross_set(results: Sequence[ExternalResult]) -> CrossSet | None:
    """Arrange external tests of methods that were trained on different sets as a matrix.

    Args:
        results: As from `external_results`.

    Returns:
        The matrix; None unless there are methods of two sets or more. A method's measures on its
        own set are those of its own test cells.
    """
    by_method = group_pairs((one.method.title, one) for one in results if one.own)
    trained = {title: _trained_on(tests[0].method) for title, tests in by_method.items()}
    if len(set(trained.values())) < 2:
        return None
    names = {one.facts.fingerprint: one.name for one in reversed(results)}
    for title, tests in by_method.items():
        data = tests[0].method.results[0].run.config.get("data", {})
        names.setdefault(trained[title], str(data.get("name", "own set")))
    # Those trained on first, so that the methods' own sets are on the diagonal.
    order = list(dict.fromkeys([*trained.values(), *reversed(names)]))
    rows, ellipses = [], dict[str, list[float]]()
    for title, tests in by_method.items():
        on = {one.facts.fingerprint: one.estimates for one in tests}
        on[trained[title]] = tests[0].own
        measured = tuple(on.get(fingerprint, {}) for fingerprint in order)
        rows.append(CrossRow(tests[0].method, order.index(trained[title]), measured))
        own = [result.run.metrics for result in tests[0].method.results]
        for fingerprint, found in [
            (trained[title], own),
            *((one.facts.fingerprint, one.metrics) for one in tests),
        ]:
            values = [one[_ELLIPSE] for one in found if _ELLIPSE in one]
            ellipses.setdefault(fingerprint, []).extend(values)
    taken = [names[fingerprint] for fingerprint in order]
    sets = (
        name if taken.count(name) == 1 else f"{name} {fingerprint[:6]}"
        for name, fingerprint in zip(taken, order, strict=True)
    )
    ellipse = (fmean(values) if (values := ellipses[one]) else None for one in order)
    return CrossSet(tuple(sets), tuple(rows), tuple(ellipse))


def _trained_on(method: MethodResults) -> str:
    settings = method.results[0].run.split.get("settings", {})
    return str(settings.get("fingerprint")) if isinstance(settings, dict) else ""
