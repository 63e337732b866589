"""hep2gan-report: one self-contained HTML file about one or more runs."""

from typing import TYPE_CHECKING

from hep2gan.command import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def report(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.command import resolved
    from hep2gan.reports.page import write_report

    plain = resolved(config)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    print(write_report([Path(run) for run in runs], Path(plain["output"])))


def main() -> None:
    """Run the command."""
    run(report, "report", ("runs*",))


if __name__ == "__main__":
    main()
