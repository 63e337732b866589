"""Temperature scaling: one number that makes a classifier as sure as it is right.

Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2. No class changes
its rank, so accuracy stays as it is.
"""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.calibration import log_probabilities, negative_log_likelihood

BOUNDS = (0.1, 10.0)
"""Temperatures looked at. Where every cell is read right the likelihood rises to the lower one."""


class CrossFitted(NamedTuple):
    """Scaled probabilities, and how they came about."""

    probabilities: npt.NDArray[np.float64]
    """(N, K) at the temperature of the cell's half."""
    half: npt.NDArray[np.int64]
    """(N,) 0 or 1."""
    temperatures: tuple[float, float]
    """Of half 0, fitted on half 1; of half 1, fitted on half 0."""


def tempered(
    probabilities: npt.NDArray[np.floating], temperature: float
) -> npt.NDArray[np.float64]:
    """Return softmax(log p / T) of (N, K) probabilities: softer above T = 1, sharper below.

    Equal to scaling the logits, which a softmax forgets but for a constant. Raises Hep2ganError
    unless T > 0.
    """
    if not temperature > 0:
        raise Hep2ganError(f"temperature is {temperature}", "must be positive")
    scaled: npt.NDArray[np.float64] = softmax(log_probabilities(probabilities) / temperature, 1)
    return scaled


def fit_temperature(probabilities: npt.NDArray[np.floating], label: npt.NDArray[np.int64]) -> float:
    """Return the temperature in BOUNDS of the least negative log-likelihood.

    probabilities: (N, K). label: (N,). Raises Hep2ganError when the shapes do not fit.
    """

    def loss(log_temperature: float) -> float:
        scaled = tempered(probabilities, float(np.exp(log_temperature)))
        return negative_log_likelihood(scaled, label)

    # In the inverse temperature the loss is convex, so over log T it has one minimum as well.
    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def cross_fitted(
    probabilities: npt.NDArray[np.floating],
    label: npt.NDArray[np.int64],
    specimen: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> CrossFitted:
    """Scale each half of the cells at the temperature fitted on the other half.

    For tests without a validation part: no cell helps to choose its own temperature.
    probabilities: (N, K). label: (N,). specimen: (N,), -1 where unknown; a specimen is never
    divided. The halves hold the classes in equal shares as far as that goes, and follow from the
    seed. Raises Hep2ganError when there are fewer than two specimens (or cells, where unknown).
    """
    half = halves(label, specimen, seed)
    scaled = np.empty(probabilities.shape)
    temperatures = []
    for own in (0, 1):
        fitted = fit_temperature(probabilities[half != own], label[half != own])
        scaled[half == own] = tempered(probabilities[half == own], fitted)
        temperatures.append(fitted)
    return CrossFitted(scaled, half, (temperatures[0], temperatures[1]))


def halves(
    label: npt.NDArray[np.int64], specimen: npt.NDArray[np.int64] | None = None, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return (N,) of 0 and 1 as `cross_fitted` divides N cells; raises Hep2ganError as it does."""
    cells = len(label)
    group = np.full(cells, -1) if specimen is None else specimen.copy()
    unknown = group < 0
    group[unknown] = group.max(initial=-1) + 1 + np.arange(unknown.sum())
    if len(np.unique(group)) < 2:
        fact = "all cells are of one specimen" if cells else "there are no cells"
        raise Hep2ganError(fact, "cross-fitting needs two halves without a specimen in common")
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
