"""The figures of a method with their intervals, and differences of two methods."""

from collections.abc import Callable, Sequence
from statistics import stdev
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.reports.tables.pairs import Pairs
from hep2gan.reports.tested import Tested
from hep2gan.statistics.bootstrap import Bootstrapped, bootstrap, ratios
from hep2gan.statistics.confusion import SCORES, cell_confusions, scores
from hep2gan.statistics.intervals import Interval

Floats = npt.NDArray[np.float64]

Statistic = Callable[[Floats], Floats]

OVERLAPS = ("dice", "jaccard")
MEASURES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "mean_class_accuracy": "Mean class accuracy",
    "dice": "Dice",
    "jaccard": "Jaccard",
}
"""Names in metrics.json, and in tables: Table I's columns and the two of section III-C."""


class Estimate(NamedTuple):
    """A figure in [0, 1]: mean and sample standard deviation over seeds, 95 % intervals.

    sd: None with one seed. An interval is None where its units show no spread. by_specimen: whether
    specimens are known.
    """

    mean: float
    sd: float | None
    cells: Interval | None
    specimens: Interval | None
    by_specimen: bool

    @property
    def interval(self) -> Interval | None:
        """Over specimens where they are known, else over cells."""
        return self.specimens if self.by_specimen else self.cells


def estimates(tests: Sequence[Tested]) -> dict[str, Estimate]:
    """Estimate every measure that the method has from its test cells, one test a seed.

    Intervals are those of the mean over seeds under another draw of cells, or of specimens: a cell
    takes its predictions of all seeds with it, for seeds are no new cells. What another training
    would give is the standard deviation's to say.
    """
    found: dict[str, Estimate] = {}
    for measures, values, statistic in _kinds(tests):
        by_seed = [statistic(one.sum(axis=0)) for one in values]
        cells = _bootstrapped([test.id for test in tests], values, statistic)
        specimens = None
        if all(test.specimens for test in tests):
            specimens = _bootstrapped([test.specimen for test in tests], values, statistic)
        for place, measure in enumerate(measures):
            own = [float(figures[place]) for figures in by_seed]
            over = specimens[place].interval if specimens else None
            sd = stdev(own) if len(own) > 1 else None
            found[measure] = Estimate(
                cells[place].estimate, sd, cells[place].interval, over, specimens is not None
            )
    return found


def differences(pairs: Pairs, *, specimens: bool) -> dict[str, Bootstrapped]:
    """Differences, first less second, of every measure both have: means over seeds.

    specimens: whether whole ones are resampled, else cells.
    """
    found: dict[str, Bootstrapped] = {}
    units = pairs.units(specimens=specimens)
    others = {measures: values for measures, values, _ in _kinds(pairs.second)}
    for measures, values, statistic in _kinds(pairs.first):
        if measures in others:
            sides = zip(values, others[measures], strict=True)
            both = [np.stack(side, axis=1) for side in sides]
            gaps = _bootstrapped(units, both, _gap(statistic))
            found |= dict(zip(measures, gaps, strict=True))
    return found


def _gap(statistic: Statistic) -> Statistic:
    """First less second of figures whose sums (..., 2, F) stand beside each other."""

    def gap(sums: Floats) -> Floats:
        figures = np.moveaxis(statistic(sums), -2, 0)
        difference: Floats = figures[0] - figures[1]
        return difference

    return gap


class _Kind(NamedTuple):
    """Measures that are one function of sums over cells, and what each cell adds in each test."""

    measures: tuple[str, ...]
    values: list[Floats]
    statistic: Statistic


def _kinds(tests: Sequence[Tested]) -> list[_Kind]:
    found = []
    if confusions := [c for test in tests if (c := _confusions(test)) is not None]:
        found.append(_Kind(SCORES, confusions, scores))
    if overlaps := [o for test in tests if (o := _overlaps(test)) is not None]:
        found.append(_Kind(OVERLAPS, overlaps, ratios))
    return [kind for kind in found if len(kind.values) == len(tests)]


def _confusions(test: Tested) -> Floats | None:
    if test.predicted is None:
        return None
    return cell_confusions(test.label, test.predicted, len(test.classes)).astype(np.float64)


def _overlaps(test: Tested) -> Floats | None:
    if test.dice is None or test.jaccard is None:
        return None
    return np.stack([test.dice, test.jaccard, np.ones(len(test))], axis=1)


def _bootstrapped(
    units: Sequence[npt.NDArray[Any]], values: Sequence[Floats], statistic: Statistic
) -> list[Bootstrapped]:
    """Bootstrap the mean over seeds of figures of sums."""
    shape = (-1, len(values), *values[0].shape[1:])

    def over_seeds(sums: Floats) -> Floats:
        figures = statistic(sums.reshape(shape))
        known = np.isfinite(figures)
        pairs = np.stack([np.where(known, figures, 0).sum(axis=1), known.sum(axis=1)], axis=-1)
        return ratios(pairs)[..., 0]

    return bootstrap(_by_unit(units, values), over_seeds)


def _by_unit(units: Sequence[npt.NDArray[Any]], values: Sequence[Floats]) -> Floats:
    """(U, S * F) sums of each unit in each of S tests."""
    distinct = np.unique(np.concatenate(units))
    sums = np.zeros((len(distinct), len(values), *values[0].shape[1:]))
    for seed, (unit, own) in enumerate(zip(units, values, strict=True)):
        np.add.at(sums[:, seed], np.searchsorted(distinct, unit), own)
    return sums.reshape(len(distinct), -1)
