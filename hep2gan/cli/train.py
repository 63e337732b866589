"""hep2gan-train: train, test and record one run."""

from typing import Any

from hep2gan.cli.app import run


def train(config: dict[str, Any]) -> None:
    """Train one run.

    Args:
        config: The resolved configuration, see `hep2gan.config.TrainConfig`, with the keys of
            `StartOptions`.
    """
    from hydra.core.hydra_config import HydraConfig

    from hep2gan.cli.local import launch

    launch(config, HydraConfig.get().overrides.task)


def main() -> None:
    """Run the command."""
    run(train, "train")


if __name__ == "__main__":
    main()
