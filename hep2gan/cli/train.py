"""hep2gan-train: train, test and record one run."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def train(config: dict[str, Any]) -> Path:
    """Train one run.

    Args:
        config: The resolved configuration, see `hep2gan.config.TrainConfig`, with the keys of
            `StartOptions`.

    Returns:
        The run's folder.
    """
    from hydra.core.hydra_config import HydraConfig

    from hep2gan.cli.local import launch
    from hep2gan.runs.folder import RunFolder

    launch(config, HydraConfig.get().overrides.task)
    return RunFolder.from_config(config).path


def main() -> None:
    """Run the command."""
    run(train, "train")


if __name__ == "__main__":
    main()
