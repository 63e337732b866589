"""hep2gan-report: one self-contained HTML file about one or more runs, tables and figures."""

import sys
from pathlib import Path
from typing import Any

from hep2gan.cli.app import quote_override, run
from hep2gan.errors import Hep2ganError


def report(config: dict[str, Any]) -> None:
    """Write the report of a resolved configuration and print where it is."""
    from hep2gan.io import silence_libraries
    from hep2gan.reports.build import PAGE, page_file, write_report

    silence_libraries()
    runs = config["runs"] if isinstance(config["runs"], list) else [config["runs"]]
    path = page_file(Path(_text("output", config["output"], "report.html")))
    page, *files = write_report(
        [Path(_text("runs", run, "runs/default/proposed/seed0")) for run in runs],
        path.parent,
        title=_text("title", config["title"] or "", "'Table I'"),
        question=_text("question", config["question"] or "", "'Do masks help?'"),
        reference=_text("reference", config["reference"] or "", "proposed"),
        only=() if config["files"] else (PAGE,),
        page=path.name,
    )
    print(page)
    if files:
        print(f"and {len(files)} files of tables and figures beside it")


def _text(key: str, value: object, example: str) -> str:
    """The value as text; numbers are text too, lists and null are not."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise Hep2ganError(f"{key} is {value!r}", "it must be text", f"{key}={example}")


def verbatim(argument: str) -> str:
    """Quote the values of text, in which commas and brackets would mean something to Hydra.

    >>> verbatim("question=Masks, or (true) masks?")
    "question='Masks, or (true) masks?'"
    """
    key, _, value = argument.partition("=")
    is_text = key in ("output", "title", "question", "reference") and value not in ("", "null")
    return f"{key}={quote_override(value)}" if is_text and value[0] not in "'\"" else argument


def main() -> None:
    """Run the command."""
    sys.argv[1:] = [verbatim(argument) for argument in sys.argv[1:]]
    run(report, "report", ("runs*",))


if __name__ == "__main__":
    main()
