"""hep2gan-train: train, test and record one run."""

from typing import TYPE_CHECKING

from hep2gan.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from hep2gan.cli.app import resolve_config
    from hep2gan.cli.launch.local import launch

    launch(resolve_config(config))


def main() -> None:
    """Run the command."""
    run(train, "train")


if __name__ == "__main__":
    main()
