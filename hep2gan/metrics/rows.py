"""Metrics laid out for printing: each beside the trivial priors of the same name."""

from collections.abc import Mapping
from typing import NamedTuple

PRIORS = ("ellipse", "mean_mask", "otsu", "majority")
"""Priors in the order of a table's columns."""


class Row(NamedTuple):
    """One metric, its value on the test cells, and what the priors score (fractions or pixels)."""

    metric: str
    value: float
    priors: dict[str, float]


def table(metrics: Mapping[str, float]) -> list[Row]:
    """The `test/` metrics of `score`, in its order, with the priors that exist for each.

    Priors lie in `Row.priors` under the names in `PRIORS`. `accuracy_true_mask` is read against the
    same prior as `accuracy`, and so on for any `<metric>_true_mask`.
    """
    return [
        Row(name, value, _priors(metrics, name.removesuffix("_true_mask")))
        for key, value in metrics.items()
        if (name := key.removeprefix("test/")) != key
    ]


def _priors(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    keys = {prior: f"prior/{prior}_{name}" for prior in PRIORS}
    return {prior: metrics[key] for prior, key in keys.items() if key in metrics}
