"""Normalisation of the stored grey levels to what the networks see."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from hep2gan.errors import Hep2ganError
from hep2gan.settings import Settings

NormalisationKind = Literal["min_max", "percentile", "z_score", "none"]
Percentile = Annotated[float, Field(ge=0, le=100)]


class Normalisation(Settings):
    """Normalise every image by itself, on its device.

    Stored images are stretched one by one; only `none` undoes that, through `levels`. Constant
    images become zeros, except under `none`.

    Args:
        kind: `min_max` stretches the darkest to the brightest pixel to [0, 1]; `percentile`
            stretches the `low` to `high` percentiles (linear interpolation, as numpy.percentile)
            and clips to [0, 1]; `z_score` gives mean 0 and standard deviation 1 (over S² pixels,
            not S² − 1); `none` gives absolute grey levels / 255, which keep the brightness of the
            staining.
        low: Percentile that becomes 0.
        high: Percentile that becomes 1.

    Raises:
        Hep2ganError: The kind is unknown, or the percentiles are not in order within 0 to 100.
    """

    kind: NormalisationKind = "min_max"
    low: Percentile = 1.0
    high: Percentile = 99.0

    def conflict(self) -> Hep2ganError | None:
        """Check that the percentiles are in order.

        Returns:
            What is wrong, or None.
        """
        if self.low < self.high:
            return None
        return Hep2ganError(
            f"normalisation.low is {self.low} and normalisation.high {self.high}",
            "percentiles must be in order",
            "set normalisation.low=1 normalisation.high=99",
        )

    @property
    def bounded(self) -> bool:
        """Whether values lie in [0, 1]."""
        return self.kind != "z_score"

    def __call__(self, image: Tensor, levels: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            image: uint8 (B, S, S), as stored.
            levels: float32 (B, 2) grey levels of stored 0 and 255.

        Returns:
            float32 (B, 1, S, S).
        """
        # Nothing in place: the exporter of torch 2.6 refuses it behind a conversion.
        stored = image.flatten(1)
        if self.kind == "none":
            dark, bright = levels[:, :1].float(), levels[:, 1:].float()
            flat = stored.float() * ((bright - dark) / 255**2) + dark / 255
        else:
            least, most = stored.amin(1, keepdim=True), stored.amax(1, keepdim=True)
            if self.kind == "percentile":
                centre, spread = self._percentiles(stored, least.float(), most.float())
                flat = stored.float() - centre
            else:
                # From the darkest pixel on, in bytes and exact: else faint images lose digits.
                flat = (stored - least).float()
                spread = (most - least).float()
            if self.kind == "z_score":
                spread, centre = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
                flat = flat - centre
            # Rounding can give a constant image some spread, so its levels decide.
            flat = flat / spread.masked_fill(least == most, torch.inf)
            if self.kind == "percentile":
                flat = flat.clamp(0, 1)
        return flat.view(image.shape[0], 1, *image.shape[1:])

    def _percentiles(self, stored: Tensor, least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the (B, 1) low percentile and its distance to the high one.

        Where both are equal, darkest and brightest pixel replace them.
        """
        below = _cumulative_histogram(stored)
        last = stored.shape[1] - 1
        low, high = (_order_statistic(below, q / 100 * last) for q in (self.low, self.high))
        low, high = torch.where(high > low, low, least), torch.where(high > low, high, most)
        return low, high - low


def _cumulative_histogram(stored: Tensor) -> Tensor:
    """Count (B, 256) pixels of each image at or below each grey level; far faster than sorting."""
    # Not bincount, which on a GPU waits for the largest value.
    counts = torch.zeros(stored.shape[0], 256, dtype=torch.int64, device=stored.device)
    one = torch.ones((), dtype=torch.int64, device=stored.device)
    return counts.scatter_add(1, stored.long(), one.expand(stored.shape)).cumsum(1)


def _order_statistic(below: Tensor, position: float) -> Tensor:
    """Compute (B, 1) grey levels at a position in the sorted pixels, linear between neighbours."""
    ranks = (int(position), math.ceil(position))
    left, right = ((below <= rank).sum(1, keepdim=True) for rank in ranks)
    return torch.lerp(left.float(), right.float(), position - int(position))
