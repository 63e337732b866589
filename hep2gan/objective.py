"""The number that a sweep over hyperparameters optimises."""

from collections.abc import Mapping
from typing import Any

from hep2gan.errors import Hep2ganError
from hep2gan.metrics_table import read_table
from hep2gan.run_folder import RunFolder


def monitor_name(config: Mapping[str, Any]) -> str:
    """The validation metric that chooses the epoch."""
    return "val/f1" if config["classify"] else "val/dice"


def check_objective(config: Mapping[str, Any]) -> None:
    """Raise Hep2ganError unless `objective` is measured on a validation part that will be there."""
    objective, split = config["objective"], config["split"]
    if not str(objective).startswith("val/"):
        raise Hep2ganError(
            f"objective is {objective}",
            "hyperparameters are chosen on the validation part; a test that chooses is no test",
            "set objective=val/f1, val/dice or another val/… column of metrics.csv",
        )
    if split["kind"] != "given" and not split["validation_fraction"]:
        raise Hep2ganError(
            f"objective is {objective}, but split.validation_fraction is 0",
            "hyperparameters are chosen on the validation part",
            "set split.validation_fraction=0.1",
        )


def objective_of(run: RunFolder, config: Mapping[str, Any]) -> float:
    """The objective at the epoch that the run's monitor chose, from its metrics.csv.

    Raises Hep2ganError when there is no such column.
    """
    try:
        rows = read_table(run.curves_file).rows
        monitor, wanted = monitor_name(config), config["objective"]
        values = [(float(row[monitor]), float(row[wanted])) for row in rows if row[monitor]]
        return max(values)[1]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Hep2ganError(
            f"{run.curves_file} has no column {config['objective']} ({error})",
            "an objective is a val/… column of metrics.csv",
            "set objective=val/f1 for methods that classify, val/dice for those that segment",
        ) from error
