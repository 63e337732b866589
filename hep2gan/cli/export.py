"""hep2gan-export: a trained run as a folder for others, with a model card."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run

_FOLDERS = {"onnx": "export", "safetensors": "weights"}
"""Of each format, in the run's folder."""


def export(config: dict[str, Any]) -> None:
    """Export a trained run, print how the export was checked, and push it if that is wanted.

    Args:
        config: The resolved configuration, see `ExportSettings`.
    """
    from hep2gan.cli.settings import ExportSettings
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse

    settings = parse(ExportSettings, config)
    # Before torch, which takes seconds to import.
    RunFolder.open(Path(settings.run))
    if settings.push_to_hub:
        from hep2gan.inference.hub import check_push

        check_push(settings.push_to_hub)

    from hep2gan.inference.export import export_run
    from hep2gan.inference.exported import CARD, HUB, WEIGHTS
    from hep2gan.inference.load import load_run

    trained = load_run(Path(settings.run), settings.checkpoint, settings.trusted)
    output = Path(settings.output or trained.run.path / _FOLDERS[settings.format])
    check = export_run(
        trained,
        output,
        settings.format,
        store=Path(settings.store) if settings.store else None,
        trusted=settings.trusted,
        address=f"{HUB}{settings.push_to_hub}" if settings.push_to_hub else "",
    )
    file = output / WEIGHTS[settings.format]
    print(f"{file} of {trained.checkpoint.name}, see {output / CARD}\n{check}")
    if settings.push_to_hub:
        from hep2gan.inference.hub import push_export

        message = settings.message or f"{trained.config.name}, {trained.checkpoint.name}"
        pushed = push_export(
            output, settings.push_to_hub, private=settings.private, message=message
        )
        print(f"pushed as {pushed}")


def main() -> None:
    """Run the command."""
    run(export, "export", ("run",))


if __name__ == "__main__":
    main()
