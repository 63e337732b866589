"""hep2gan-pack: read raw cells, check them and write the packed store."""

from typing import TYPE_CHECKING

from hep2gan.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def pack(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from hep2gan.cli.app import resolve_config
    from hep2gan.config import check_data_settings
    from hep2gan.data.prepare import pack_store
    from hep2gan.data.store.report import format_report

    plain = resolve_config(config)
    check_data_settings(plain["data"])
    store = pack_store(plain["data"], plain["workers"])
    print("\n".join(format_report(store)))


def main() -> None:
    """Run the command."""
    run(pack, "pack")


if __name__ == "__main__":
    main()
