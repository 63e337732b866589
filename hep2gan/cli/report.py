"""hep2gan-report: one self-contained HTML file about one or more runs, tables and figures."""

import sys
from typing import TYPE_CHECKING

from hep2gan.cli.app import quote_override, run
from hep2gan.errors import Hep2ganError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def report(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.cli.app import resolve_config
    from hep2gan.io import silence_libraries
    from hep2gan.reports.build import PAGE, page_file, write_report

    silence_libraries()
    plain = resolve_config(config)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    path = page_file(Path(_line("output", plain["output"], "report.html")))
    page, *files = write_report(
        [Path(_line("runs", run, "runs/default/proposed/seed0")) for run in runs],
        path.parent,
        title=_line("title", plain["title"] or "", "'Table I'"),
        question=_line("question", plain["question"] or "", "'Do masks help?'"),
        reference=_line("reference", plain["reference"] or "", "proposed"),
        only=() if plain["files"] else (PAGE,),
        page=path.name,
    )
    print(page)
    if files:
        print(f"and {len(files)} files of tables and figures beside it")


def _line(key: str, value: object, example: str) -> str:
    """Return the value as text; numbers are text to a reader, lists and null are not."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise Hep2ganError(f"{key} is {value!r}", "it must be text", f"{key}={example}")


def verbatim(argument: str) -> str:
    """Quote what is text, so that commas and brackets in it mean nothing to Hydra.

    >>> verbatim("question=Masks, or (true) masks?")
    "question='Masks, or (true) masks?'"
    """
    key, _, value = argument.partition("=")
    plain = key in ("output", "title", "question", "reference") and value not in ("", "null")
    return f"{key}={quote_override(value)}" if plain and value[0] not in "'\"" else argument


def main() -> None:
    """Run the command."""
    sys.argv[1:] = [verbatim(argument) for argument in sys.argv[1:]]
    run(report, "report", ("runs*",))


if __name__ == "__main__":
    main()
