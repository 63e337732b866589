"""Calibration: whether cells of confidence 0.9 are classified correctly nine times in ten.

Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017,
https://arxiv.org/abs/1706.04599. A cell's confidence is its largest class probability.
"""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from hep2gan.errors import Hep2ganError

BINS = 15
"""Number of bins, as in Guo et al."""

_TINY = float(np.finfo(np.float32).tiny)  # a softmax in float32 rounds lower values to 0


class Reliability(NamedTuple):
    """Cells by confidence: B bins from `edges[b]` (excluded) to `edges[b + 1]` (included).

    Attributes:
        edges: (B + 1,) confidences.
        cells: (B,) number of cells.
        right: (B,) number of correctly classified cells.
        confidence: (B,) mean confidence; NaN without cells.
        accuracy: (B,) share of correctly classified cells; NaN without cells.
    """

    edges: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]


def reliability(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    bins: int = BINS,
) -> Reliability:
    """Sort cells into bins of equal width by confidence.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        label: (N,) true classes in [0, K).
        bins: Number B of bins, at least 1.

    Returns:
        Counts, confidence and accuracy of each bin.

    Raises:
        Hep2ganError: If the shapes do not fit, or there are no cells or no bins.
    """
    probability = _checked(probabilities, label)
    if bins < 1:
        raise Hep2ganError(f"bins is {bins}", "must be positive", f"say {BINS}")
    confidence = probability.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], confidence)
    cells = np.bincount(index, minlength=bins)
    right = np.bincount(index[probability.argmax(axis=1) == label], minlength=bins)
    total = np.bincount(index, weights=confidence, minlength=bins)
    filled = np.where(cells, cells, np.nan)
    return Reliability(edges, cells, right, total / filled, right / filled)


def expected_calibration_error(bins: Reliability) -> float:
    """Compute the mean |accuracy − confidence| over bins, weighted by cells (Guo et al., eq. 3).

    Args:
        bins: As from `reliability`.

    Returns:
        The error in [0, 1].
    """
    gaps = np.abs(bins.accuracy - bins.confidence)
    return float(np.nansum(bins.cells * gaps) / bins.cells.sum())


def negative_log_likelihood(
    probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> float:
    """Compute the mean −log p(label) over cells; a zero is replaced by float32's least probability.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        label: (N,) true classes in [0, K).

    Returns:
        The mean in nats.

    Raises:
        Hep2ganError: If the shapes do not fit.
    """
    own = _checked(probabilities, label)[np.arange(len(label)), label]
    return float(-np.log(np.maximum(own, _TINY)).mean())


def _checked(
    probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the probabilities as float64, or raise when they are not (N, K) of N labels."""
    if probabilities.ndim != 2 or label.shape != probabilities.shape[:1] or not label.size:
        raise Hep2ganError(
            f"probabilities and labels have shapes {probabilities.shape} and {label.shape}",
            "calibration needs (N, K) and (N,) of at least one cell",
        )
    if label.min() < 0 or label.max() >= probabilities.shape[1]:
        raise Hep2ganError(
            f"labels lie in {label.min()}..{label.max()}",
            f"must lie in 0..{probabilities.shape[1] - 1}",
        )
    return probabilities.astype(np.float64)


BOUNDS = (0.1, 10.0)
"""Range of temperatures."""


class CrossFittedTemperature(NamedTuple):
    """Probabilities scaled by cross-fitted temperatures.

    Attributes:
        probabilities: (N, K) at the temperature of the cell's half.
        temperatures: That of half 0, fitted on half 1; that of half 1, fitted on half 0.
    """

    probabilities: npt.NDArray[np.float64]
    temperatures: tuple[float, float]


def apply_temperature(
    probabilities: npt.NDArray[np.floating], temperature: float
) -> npt.NDArray[np.float64]:
    """Compute softmax(log p / T) of probabilities p: softer above T = 1, sharper below.

    Equal to scaling the logits, which differ from log p by a constant that the softmax removes.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        temperature: T, above 0.

    Returns:
        (N, K) scaled probabilities.

    Raises:
        Hep2ganError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise Hep2ganError(f"temperature is {temperature}", "must be positive")
    logits = np.log(np.maximum(probabilities.astype(np.float64), _TINY))
    return np.asarray(softmax(logits / temperature, 1), np.float64)


def normalized_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Compute −Σ p log p / log K: 0 where one class is certain, 1 where all are equally probable.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].

    Returns:
        (N,) entropies in [0, 1]; 0 for a single class.
    """
    p = probabilities.astype(np.float64)
    entropy = -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(axis=1)
    return np.asarray(np.clip(entropy / max(np.log(p.shape[1]), _TINY), 0.0, 1.0))


def fit_temperature(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> float:
    """Fit the temperature in BOUNDS of the least negative log-likelihood.

    Where every cell is correct it is 1: the likelihood would rise to the lowest temperature, and
    call a classifier certain that was only not yet seen to err.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        label: (N,) true classes in [0, K).

    Raises:
        Hep2ganError: If the shapes do not fit.
    """

    if (_checked(probabilities, label).argmax(axis=1) == label).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        return negative_log_likelihood(apply_temperature(probabilities, temperature), label)

    # In the inverse temperature the loss is convex, so over log T it has one minimum as well.
    result = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(result.x))


def cross_fit_temperature(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    specimen: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> CrossFittedTemperature:
    """Scale each half of the cells at the temperature fitted on the other half.

    For tests without a validation part: no cell helps to choose its own temperature. The halves
    hold the classes in equal shares as far as possible.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        label: (N,) true classes in [0, K).
        specimen: (N,) specimen numbers, -1 if unknown; a specimen is never divided. None if all are
            unknown.
        seed: Seed of the division into halves.

    Raises:
        Hep2ganError: If there are fewer than two specimens (or cells, where unknown).
    """
    half = split_halves(label, specimen, seed)
    scaled = np.empty(probabilities.shape)
    temperatures = []
    for own in (0, 1):
        fitted = fit_temperature(probabilities[half != own], label[half != own])
        scaled[half == own] = apply_temperature(probabilities[half == own], fitted)
        temperatures.append(fitted)
    return CrossFittedTemperature(scaled, (temperatures[0], temperatures[1]))


def split_halves(
    label: npt.NDArray[np.int64], specimen: npt.NDArray[np.int64] | None = None, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Divide cells into two halves, as `cross_fit_temperature` does.

    Args:
        label: (N,) true classes.
        specimen: (N,) specimen numbers, -1 if unknown; a specimen is never divided. None if all are
            unknown.
        seed: Seed of the division.

    Returns:
        (N,) of 0 and 1.

    Raises:
        Hep2ganError: If there are fewer than two specimens (or cells, where unknown).
    """
    cells = len(label)
    group = np.full(cells, -1) if specimen is None else specimen.copy()
    unknown = group < 0
    group[unknown] = group.max(initial=-1) + 1 + np.arange(unknown.sum())
    if len(np.unique(group)) < 2:
        raise Hep2ganError(
            "all cells are of one specimen" if cells else "there are no cells",
            "cross-fitting needs two halves without a specimen in common",
        )
    # Imported here, since scikit-learn takes half a second that few trainings need.
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class of one cell or specimen lies in one half
        try:
            one = next(splitter.split(np.zeros(cells), label, group))[1]
        except ValueError:  # no class has two cells
            one = np.flatnonzero(group == group[0])
    half = np.zeros(cells, np.int64)
    half[one] = 1
    return half
