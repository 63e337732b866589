"""hep2gan-export: a trained run as one ONNX graph with a model card."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def export(config: dict[str, Any]) -> None:
    """Export the run of a resolved configuration and print how it was checked."""
    from hep2gan.inference.export import export_run
    from hep2gan.inference.load import load_run
    from hep2gan.inference.onnx_backend import CARD, GRAPH

    trained = load_run(Path(config["run"]), config["checkpoint"], config["trusted"])
    output = Path(config["output"]) if config["output"] else trained.run.path / "export"
    store = Path(config["store"]) if config["store"] else None
    check = export_run(trained, output, store)
    print(f"{output / GRAPH} of {trained.checkpoint.name}, see {output / CARD}\n{check}")


def main() -> None:
    """Run the command."""
    run(export, "export", ("run",))


if __name__ == "__main__":
    main()
