"""The metric that a sweep optimizes: whether it will be measured, and its value after a run."""

from collections.abc import Mapping
from typing import Any

from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder


def check_objective(config: Mapping[str, Any]) -> None:
    """Check that the optimized metric is measured on a validation part that will exist.

    Args:
        config: The resolved configuration of one job.

    Raises:
        Hep2ganError: `optimized_metric` is no val/… metric of this method, or there is no
            validation part.
    """
    objective, split = config["optimized_metric"], config["split"]
    if not str(objective).startswith("val/"):
        raise Hep2ganError(
            f"optimized_metric is {objective}",
            "hyperparameters are chosen on the validation part, never on the test part",
            "set optimized_metric=val/f1, val/dice or another val/… column of metrics.csv",
        )
    if (model := config["model"])["baseline"]:
        raise Hep2ganError(
            "the method is a forest",
            "it has no validation, which a study optimizes on",
            "choose a method with networks, or a grid: leave hydra/sweeper out",
        )
    known = measured(model["segment"], model["classify"])
    # By class, too: val/dice/Golgi.
    if "/".join(str(objective).split("/")[:2]) not in known:
        raise Hep2ganError(
            f"optimized_metric is {objective}",
            f"this method measures {', '.join(known)}",
            f"set optimized_metric={'val/f1' if model['classify'] else 'val/dice'}",
        )
    if split["kind"] != "given" and not split["validation_fraction"]:
        raise Hep2ganError(
            f"optimized_metric is {objective}, but split.validation_fraction is 0",
            "hyperparameters are chosen on the validation part",
            "set split.validation_fraction=0.1",
        )


def measured(segments: bool, classifies: bool) -> list[str]:
    """Name the metrics of the validation part; those by class are left out.

    Args:
        segments: Whether the method has a generator.
        classifies: Whether the method has a classifier.

    Returns:
        Names such as "val/dice".
    """
    import torch

    from hep2gan.metrics.validation import ValidationMetrics

    metrics = ValidationMetrics(["a", "b"], segments=segments, classifies=classifies)
    mask, label = torch.ones(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64)
    scores = torch.tensor([[1.0, 0.0]])
    metrics.update(
        mask if segments else None, scores if classifies else None, None, truth=mask, label=label
    )
    return [name for name in metrics.flush() if name.count("/") == 1]


def objective_value(run: RunFolder, config: Mapping[str, Any]) -> float:
    """Read the optimized metric at the epoch that the monitored metric chose, from metrics.csv.

    Args:
        run: The folder of a finished run.
        config: Its resolved configuration.

    Returns:
        The value of `optimized_metric` at the epoch with the highest monitored metric.

    Raises:
        Hep2ganError: metrics.csv has no such column.
    """
    # Here, since Hydra loads this module for every command, and Lightning takes seconds.
    from hep2gan.metrics.validation import monitor_name
    from hep2gan.runs.metrics_csv import read_metrics_csv

    try:
        rows = read_metrics_csv(run.curves_file).rows
        monitor, objective = monitor_name(config["model"]["classify"]), config["optimized_metric"]
        values = [(float(row[monitor]), float(row[objective])) for row in rows if row[monitor]]
        return max(values)[1]
    except (ValueError, KeyError) as error:
        raise Hep2ganError(
            f"{run.curves_file} has no column {config['optimized_metric']} ({error})",
            "an objective is a val/… column of metrics.csv",
            "set optimized_metric=val/f1 where a classifier is trained, else val/dice",
        ) from error
