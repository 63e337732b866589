"""How a cost grows with image size and batch: a product of powers, fitted to its logarithm."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Growth(NamedTuple):
    """cost ≈ factor · size^of_size · batch^of_batch.

    residual: the root mean square of the logarithms' distances, over the degrees of freedom that
    the fit leaves; 0.05 means that costs lie about 5 % beside it. NaN where it leaves none.
    """

    factor: float
    of_size: float
    of_batch: float
    residual: float

    @classmethod
    def of(cls, costs: Mapping[tuple[int, int], float]) -> "Growth":
        """Least squares of log cost over (log size, log batch), of positive costs.

        Raises ValueError where the points cannot tell size from batch.
        """
        points = np.log(np.array([[*key, cost] for key, cost in costs.items()], dtype=np.float64))
        known = np.column_stack([np.ones(len(points)), points[:, :2]])
        found, _, rank, _ = np.linalg.lstsq(known, points[:, 2], rcond=None)
        if rank < 3:
            raise ValueError(f"{len(points)} points of size and batch do not tell both exponents")
        left = len(points) - 3
        squares = float(np.square(points[:, 2] - known @ found).sum())
        residual = math.sqrt(squares / left) if left else math.nan
        return cls(math.exp(found[0]), float(found[1]), float(found[2]), residual)

    def at(self, size: float, batch: float) -> float:
        """The cost that the fit gives."""
        return self.factor * math.pow(size, self.of_size) * math.pow(batch, self.of_batch)

    def sentence(self, what: str) -> str:
        """The fit in words."""
        return (
            f"{what} grows as size^{self.of_size:.2f} · batch^{self.of_batch:.2f};"
            f" residual {100 * self.residual:.1f} %."
        )
