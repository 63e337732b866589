"""hep2gan-export: a trained run as one ONNX graph with a model card."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def export(config: dict[str, Any]) -> None:
    """Export a trained run and print how the graph was checked.

    Args:
        config: The resolved configuration, see `ExportSettings`.
    """
    from hep2gan.cli.settings import ExportSettings
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse

    settings = parse(ExportSettings, config)
    # Before torch, which takes seconds to import.
    RunFolder.open(Path(settings.run))

    from hep2gan.inference.export import export_run
    from hep2gan.inference.load import load_run
    from hep2gan.inference.onnx_backend import CARD, GRAPH

    trained = load_run(Path(settings.run), settings.checkpoint, settings.trusted)
    output = Path(settings.output) if settings.output else trained.run.path / "export"
    check = export_run(trained, output, Path(settings.store) if settings.store else None)
    print(f"{output / GRAPH} of {trained.checkpoint.name}, see {output / CARD}\n{check}")


def main() -> None:
    """Run the command."""
    run(export, "export", ("run",))


if __name__ == "__main__":
    main()
