"""hep2gan-pack: read raw cells, check them and write the packed store."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run


def pack(config: dict[str, Any]) -> Path:
    """Pack a data set and print what was found in it.

    Args:
        config: The resolved configuration, see `PackSettings`.

    Returns:
        The folder of the store.
    """
    from hep2gan.cli.settings import PackSettings
    from hep2gan.config import parse_source
    from hep2gan.data.prepare import pack_store
    from hep2gan.data.store.report import format_report
    from hep2gan.settings import parse

    settings = parse(PackSettings, config)
    store = pack_store(parse_source(settings.data, settings.trusted), settings.workers)
    print("\n".join(format_report(store)))
    return store.path


def main() -> None:
    """Run the command."""
    run(pack, "pack")


if __name__ == "__main__":
    main()
