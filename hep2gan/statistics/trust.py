"""How far the prediction for a cell is to be trusted, from the predictions of a test alone."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Part, Trust, UnlikeLimits
from hep2gan.statistics.calibration import (
    apply_temperature,
    cross_fit_temperature,
    expected_calibration_error,
    fit_temperature,
    normalized_entropy,
    reliability,
    split_halves,
)
from hep2gan.statistics.risk_coverage import RiskCoverage, risk_coverage
from hep2gan.statistics.trust_rule import TrustRule

QUANTILE = 0.95
"""Share of cells like the training's that the limits together are to keep, at the least."""
LEAST_CELLS = 40
"""Cells below which neither temperature nor limits are chosen: 2.5 % of fewer is less than one."""
_POINTS = 20


class ScaledTest(NamedTuple):
    """Test cells at temperatures that they did not help to fit.

    Attributes:
        probabilities: (N, K) scaled.
        temperatures: One, fitted on the validation part; or two, each half's fitted on the other.
        part: Where they were fitted.
    """

    probabilities: npt.NDArray[np.float64]
    temperatures: tuple[float, ...]
    part: Part


def scale_test(predictions: Predictions) -> ScaledTest | None:
    """Scale the probabilities of test cells without letting them fit their own temperature.

    Args:
        predictions: Predictions of a method with a classifier.

    Returns:
        By the validation part where there is one, else cross-fitted over specimens; None where the
        cells cannot be halved.

    Raises:
        Hep2ganError: If there are no probabilities.
    """
    probabilities = predictions.require_probabilities()
    chosen, label = predictions.validation_probabilities, predictions.validation_label
    if chosen is not None and label is not None:
        temperature = fit_temperature(chosen, label)
        scaled = apply_temperature(probabilities, temperature)
        return ScaledTest(scaled, (temperature,), "validation")
    if not _can_be_halved(predictions.specimen):
        return None
    fitted = cross_fit_temperature(probabilities, predictions.label, predictions.specimen)
    return ScaledTest(fitted.probabilities, fitted.temperatures, "test")


class Limits(NamedTuple):
    """Limits of cells like the training's.

    Attributes:
        quantile: Share of the cells that they were chosen on which lie within each.
        entropy: Largest entropy, in [0, 1].
        squared: Largest squared distance to the nearest mean of the mixture; None without one.
    """

    quantile: float
    entropy: float
    squared: float | None

    def beyond(self, cells: "_Cells", temperature: float) -> npt.NDArray[np.bool_]:
        """Tell which cells lie beyond a limit.

        Args:
            cells: The cells.
            temperature: That of their probabilities.

        Returns:
            (N,) whether each does.
        """
        # By the rule for new cells; the probabilities here are not scaled yet.
        rule = TrustRule(temperature, self.squared, self.entropy, calibrated=False)
        unlike = rule.measure(cells.probabilities, cells.distances).unlike
        assert unlike is not None  # there is a limit of entropy
        return unlike


class LimitedCells(NamedTuple):
    """Test cells and what tells whether they are like the training's.

    Attributes:
        entropy: (N,) entropies at a temperature that the cells did not help to fit, where they can
            be halved.
        squared: (N,) squared distances to the nearest mean of the mixture; None without one.
        limits: The limits of new cells.
        beyond: (N,) whether a test cell lies beyond limits that it did not help to choose; None
            where the cells cannot be halved.
        part: Where the limits were chosen.
    """

    entropy: npt.NDArray[np.float64]
    squared: npt.NDArray[np.float64] | None
    limits: Limits
    beyond: npt.NDArray[np.bool_] | None
    part: Part


class _Cells(NamedTuple):
    """What limits are chosen on, and judge."""

    probabilities: npt.NDArray[np.floating]
    distances: npt.NDArray[np.floating] | None
    label: npt.NDArray[np.int64]

    @property
    def squared(self) -> npt.NDArray[np.float64] | None:
        """(N,) squared distances to the nearest mean; None without a mixture."""
        return None if self.distances is None else self.distances.min(axis=1).astype(np.float64)

    def entropy(self, temperature: float) -> npt.NDArray[np.float64]:
        return normalized_entropy(apply_temperature(self.probabilities, temperature))

    def at(self, rows: npt.NDArray[np.bool_]) -> "_Cells":
        distances = None if self.distances is None else self.distances[rows]
        return _Cells(self.probabilities[rows], distances, self.label[rows])

    def choose(self, temperature: float) -> Limits:
        """Choose the limits at a temperature."""
        # Each measure has its part of the false alarms.
        nearest = self.squared
        quantile = 1 - (1 - QUANTILE) / (1 if nearest is None else 2)
        squared = None if nearest is None else conformal_quantile(nearest, quantile)
        entropy = conformal_quantile(self.entropy(temperature), quantile)
        return Limits(quantile, entropy, squared)


def limit_cells(predictions: Predictions, temperature: float | None = None) -> LimitedCells | None:
    """Choose from where on a cell is unlike the training.

    It is so if the nearest mean of the mixture is far, or if the classifier is undecided: where a
    class was never seen, its features mostly lie between the means of the others, near to all. Each
    of the two measures is to call half of 1 − `QUANTILE` of the cells like the training's; without
    a mixture the entropy calls all of it.

    Args:
        predictions: Predictions of a method with a classifier.
        temperature: That of new cells where it is known already, else None.

    Returns:
        The limits from the validation part where there is one, else from the test part; None with
        fewer than `LEAST_CELLS` cells to choose them on.

    Raises:
        Hep2ganError: If there are no probabilities.
    """
    own = _Cells(predictions.require_probabilities(), predictions.distances, predictions.label)
    if len(_chosen_part(predictions)[1]) < LEAST_CELLS:
        return None
    if temperature is None:
        temperature = _temperature(predictions, scale_test(predictions))
    chosen, label = predictions.validation_probabilities, predictions.validation_label
    if chosen is not None and label is not None:
        limits = _Cells(chosen, predictions.validation_distances, label).choose(temperature)
        beyond = limits.beyond(own, temperature)
        return LimitedCells(own.entropy(temperature), own.squared, limits, beyond, "validation")
    limits = own.choose(temperature)
    if not _can_be_halved(predictions.specimen):
        return LimitedCells(own.entropy(temperature), own.squared, limits, None, "test")
    half = split_halves(own.label, predictions.specimen)
    entropy, found = np.empty(len(half)), np.empty(len(half), np.bool_)
    for one in (0, 1):
        other, rows = own.at(half != one), half == one
        of_other = fit_temperature(other.probabilities, other.label)
        found[rows] = other.choose(of_other).beyond(own.at(rows), of_other)
        entropy[rows] = own.at(rows).entropy(of_other)
    return LimitedCells(entropy, own.squared, limits, found, "test")


def conformal_quantile(values: npt.NDArray[np.floating], share: float = QUANTILE) -> float:
    """Choose the limit that a further value of the same kind keeps with a chance of `share`.

    It is the ⌈(n + 1) · share⌉-th of n values (Vovk, Gammerman & Shafer 2005); their largest where
    they are too few.

    Args:
        values: (n,) values, at least one.
        share: The share in (0, 1).

    Returns:
        The limit.
    """
    place = math.ceil((len(values) + 1) * share)
    return float(np.sort(values)[min(place, len(values)) - 1])


def risk_of(predictions: Predictions, scaled: ScaledTest | None = None) -> RiskCoverage:
    """Compute the risk–coverage curve of test cells, the most probable class first.

    Args:
        predictions: Predictions of a method with a classifier.
        scaled: As from `scale_test`; None takes the probabilities as the network leaves them.

    Returns:
        The curve.
    """
    own = predictions.require_probabilities() if scaled is None else scaled.probabilities
    return risk_coverage(own.max(axis=1), predictions.predicted == predictions.label)


def fit_trust(predictions: Predictions, checkpoint: str | None = None) -> Trust | None:
    """Summarise how far the predictions of a run are to be trusted.

    Args:
        predictions: Predictions of its test.
        checkpoint: Name of the checkpoint file that was tested; None for a forest.

    Returns:
        The facts; None without a classifier.

    Raises:
        Hep2ganError: If the arrays do not fit.
    """
    if predictions.probabilities is None:
        return None
    label, scaled = predictions.label, scale_test(predictions)
    right = predictions.predicted == label
    curve, temperature = risk_of(predictions, scaled), _temperature(predictions, scaled)
    part, specimen = _chosen_part(predictions)
    return Trust(
        classes=list(predictions.classes),
        checkpoint=checkpoint,
        part=part,
        cells=len(specimen),
        specimens=len(np.unique(specimen)) if (specimen >= 0).all() else None,
        temperature=temperature,
        calibration_error=_error(predictions.probabilities, label),
        calibration_error_scaled=None if scaled is None else _error(scaled.probabilities, label),
        error=float((~right).mean()),
        aurc=curve.area,
        aurc_ideal=risk_coverage(right.astype(np.float64), right).area,
        risk=_points(curve),
        unlike=_limits(predictions, temperature),
        no_limits=_why_no_limits(predictions),
    )


def _error(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> float:
    return expected_calibration_error(reliability(probabilities, label))


def _chosen_part(predictions: Predictions) -> tuple[Part, npt.NDArray[np.int64]]:
    if predictions.validation_specimen is not None:
        return "validation", predictions.validation_specimen
    return "test", predictions.specimen


def _temperature(predictions: Predictions, scaled: ScaledTest | None) -> float:
    """The temperature for new cells; 1 where few chose it, or where it did not help the test."""
    chosen, label = predictions.validation_probabilities, predictions.validation_label
    if chosen is None or label is None:
        chosen, label = predictions.require_probabilities(), predictions.label
    if scaled is None or len(label) < LEAST_CELLS:
        return 1.0
    own, truth = predictions.require_probabilities(), predictions.label
    if _error(scaled.probabilities, truth) >= _error(own, truth):
        return 1.0
    return fit_temperature(chosen, label)


def _points(curve: RiskCoverage) -> list[tuple[float, float]]:
    cells = len(curve.risk)
    places = sorted({max(1, round(cells * step / _POINTS)) for step in range(1, _POINTS + 1)})
    return [(float(curve.coverage[at - 1]), float(curve.risk[at - 1])) for at in places]


def _limits(predictions: Predictions, temperature: float) -> UnlikeLimits | None:
    found = limit_cells(predictions, temperature)
    if found is None:
        return None
    unseen = find_unseen(predictions)
    rates = [
        None if found.beyond is None or not rows.any() else float(found.beyond[rows].mean())
        for rows in (np.ones(len(unseen), np.bool_), unseen)
    ]
    return UnlikeLimits(
        quantile=found.limits.quantile,
        entropy=found.limits.entropy,
        squared=found.limits.squared,
        false_alarms=rates[0],
        false_alarms_unseen=rates[1],
        unseen_cells=int(unseen.sum()),
        unseen_specimens=len(np.unique(predictions.specimen[unseen])),
    )


def find_unseen(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Find the test cells whose specimen is known to have no cell in training.

    Args:
        predictions: Predictions of a test.

    Returns:
        (N,) whether a cell is such; none where the specimens of the training are not recorded.
    """
    trained = predictions.train_specimens
    if trained is None or not len(trained):
        return np.zeros(len(predictions.id), np.bool_)
    return (predictions.specimen >= 0) & ~np.isin(predictions.specimen, trained)


def _why_no_limits(predictions: Predictions) -> str:
    part, specimen = _chosen_part(predictions)
    if len(specimen) < LEAST_CELLS:
        return f"the {part} part has {len(specimen)} cells, limits need {LEAST_CELLS}"
    return ""


def _can_be_halved(specimen: npt.NDArray[np.int64]) -> bool:
    """Tell whether cells can be halved without dividing a specimen; each unknown one is its own."""
    return len(np.unique(specimen[specimen >= 0])) + int((specimen < 0).sum()) > 1
