"""hep2gan-export: a trained run as one ONNX graph with a model card."""

from typing import TYPE_CHECKING

from hep2gan.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def export(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.cli.app import resolve_config
    from hep2gan.inference.export import export_run
    from hep2gan.inference.load import load_run
    from hep2gan.inference.onnx_backend import CARD, GRAPH

    plain = resolve_config(config)
    trained = load_run(Path(plain["run"]), plain["checkpoint"], plain["trusted"])
    output = Path(plain["output"]) if plain["output"] else trained.run.path / "export"
    store = Path(plain["store"]) if plain["store"] else None
    check = export_run(trained, output, store)
    print(f"{output / GRAPH} of {trained.checkpoint.name}, see {output / CARD}\n{check}")


def main() -> None:
    """Run the command."""
    run(export, "export", ("run",))


if __name__ == "__main__":
    main()
