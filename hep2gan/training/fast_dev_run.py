"""fast_dev_run: the whole way of a run with a few cells, in a folder that is removed afterwards."""

from collections.abc import Mapping
from typing import Any

from hep2gan.errors import Hep2ganError

SUFFIX = ".fast_dev_run"
"""Of the folder, which lies beside the run's own."""


def is_short(values: Mapping[str, Any]) -> bool:
    """Tell whether a configuration is that of a short run.

    Args:
        values: The configuration of hep2gan-train, in plain containers.

    Returns:
        Whether `shorten` has made it.
    """
    return str(values["run_dir"]).endswith(SUFFIX)


def shorten(values: Mapping[str, Any], batches: int) -> dict[str, Any]:
    """Change the configuration of a run so that it takes a few batches and leaves the run alone.

    It trains for one epoch (one for each stage where the GAN comes first) of so many batches, and
    logs to metrics.csv alone. All else is as in the run, so that what fails there fails here.

    Args:
        values: The configuration of hep2gan-train, in plain containers.
        batches: Batches an epoch.

    Returns:
        The configuration of the short run.

    Raises:
        Hep2ganError: The method is a forest, which has no batches.
    """
    if values["model"]["baseline"]:
        raise Hep2ganError(
            "fast_dev_run with a forest",
            "it is grown from all training cells at once, without batches",
            "leave fast_dev_run out, or set doctor=true",
        )
    changed = {
        "run_dir": str(values["run_dir"]).rstrip("/") + SUFFIX,
        "trainer": values["trainer"]
        | {"max_epochs": 1, "limit_train_batches": batches}
        | {"log_every_n_steps": 1, "check_val_every_n_epoch": 1, "profile": False},
        "logger": values["logger"] | {"wandb": False, "mlflow": False, "tensorboard": False},
    }
    return {**values, **changed}
