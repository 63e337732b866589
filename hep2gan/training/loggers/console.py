"""A line an epoch where output is no terminal: how far it is, the losses, the time."""

import logging
from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)

_SECONDS = "speed/seconds_per_epoch"
_SCORES = ("val/dice", "val/f1")


class ConsoleLogger(Logger):
    """Log a line an epoch: its number of `epochs`, each network's total loss, and the seconds.

    >>> row = {"train/generator/total": 1.25, "speed/seconds_per_epoch": 12.3}
    >>> ConsoleLogger(200).format_epoch(2, row)
    'epoch 3/200  generator 1.25  12.3 s'
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._row: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "lines"

    @property
    def version(self) -> str:
        """There is one a run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Gather an epoch's rows, and print when losses and time are there."""
        self._row |= {name: float(value) for name, value in metrics.items()}
        if _SECONDS in self._row and any(name.startswith("train/") for name in self._row):
            log.info(self.format_epoch(int(self._row.get("epoch", 0)), self._row))
            self._row = {}

    def format_epoch(self, epoch: int, row: dict[str, float]) -> str:
        """Format the line of an epoch, counted from 0."""
        losses = {
            name.split("/")[1]: value
            for name, value in row.items()
            if name.startswith("train/") and name.endswith("/total")
        }
        values = losses | {name: row[name] for name in _SCORES if name in row}
        words = [f"{name} {value:.4g}" for name, value in values.items()]
        return "  ".join([f"epoch {epoch + 1}/{self._epochs}", *words, f"{row[_SECONDS]:.1f} s"])
