"""Margin α of the Gaussian-mixture loss, constant or ramped over epochs."""

from collections.abc import Sequence
from dataclasses import dataclass

from hep2gan.errors import Hep2ganError


@dataclass(frozen=True)
class Margin:
    """Linear ramp from `start` in epoch 0 to `end` in epoch `epochs`, constant from there on."""

    start: float
    end: float
    epochs: int

    @classmethod
    def of(cls, margin: float | Sequence[float], epochs: int) -> "Margin":
        """Read a config's margin: one number, or [start, end] with the epochs of the ramp.

        Raises Hep2ganError for negative margins and for a ramp without epochs.
        """
        values = [margin] if isinstance(margin, int | float) else list(margin)
        if len(values) not in (1, 2) or min(values) < 0:
            raise Hep2ganError(
                f"the margin is {margin}", "must be one number or [start, end], not negative"
            )
        if len(values) == 2 and epochs < 1:
            raise Hep2ganError(
                f"the margin {values} is ramped over {epochs} epochs", "a ramp needs at least 1"
            )
        return cls(values[0], values[-1], max(epochs, 1))

    def at(self, epoch: int) -> float:
        """Give the margin in an epoch, counted from 0."""
        return self.start + (self.end - self.start) * min(1.0, epoch / self.epochs)
