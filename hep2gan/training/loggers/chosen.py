"""The values of the epoch that a run is tested with, while the training goes on."""

from collections.abc import Mapping

from hep2gan.runs.checkpoints import improves

_OF_EPOCHS = ("train/", "val/", "gm/val/")


class ChosenEpoch:
    """Follow the logged rows, and keep those of the epoch that best.ckpt holds, else of the last.

    Args:
        monitor: The validation metric that chooses the epoch; None chooses the last.

    >>> chosen = ChosenEpoch("val/f1")
    >>> chosen.update({"val/f1": 0.5, "val/dice": 0.6, "epoch": 0})
    {'best/epoch': 0.0, 'best/val/f1': 0.5, 'best/val/dice': 0.6}
    >>> chosen.update({"val/f1": 0.4, "val/dice": 0.9, "epoch": 1})
    {}
    """

    def __init__(self, monitor: str | None) -> None:
        self._monitor = monitor
        self._highest: float | None = None
        self._epoch = self._chosen = -1.0
        self._values: dict[str, float] = {}

    def update(self, row: Mapping[str, float]) -> dict[str, float]:
        """Take a row.

        Args:
            row: Values by name; those of an epoch have `epoch`.

        Returns:
            best/epoch and best/<name> of the chosen epoch; empty where the row changes nothing.
        """
        values = {name: float(row[name]) for name in row if name.startswith(_OF_EPOCHS)}
        if not values or "epoch" not in row:
            return {}
        if row["epoch"] != self._epoch:
            self._epoch, self._values = float(row["epoch"]), {}
        self._values |= values
        value = values.get(self._monitor) if self._monitor else None
        if improves(value, self._highest):
            self._highest, self._chosen = value, self._epoch
        if self._highest is None:
            self._chosen = self._epoch
        if self._epoch != self._chosen:
            return {}
        return {f"best/{name}": it for name, it in {"epoch": self._epoch, **self._values}.items()}
