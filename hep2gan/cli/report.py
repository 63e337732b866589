"""hep2gan-report: one self-contained HTML file about one or more runs, tables and figures."""

import sys
from pathlib import Path
from typing import Any

from hep2gan.cli.app import quote_override, run


def report(config: dict[str, Any]) -> None:
    """Write the report about the given runs and print its path.

    Args:
        config: The resolved configuration, see `ReportSettings`.
    """
    from hep2gan.cli.settings import ReportSettings
    from hep2gan.io import silence_libraries
    from hep2gan.reports.build import PAGE, page_file, write_report
    from hep2gan.settings import parse

    silence_libraries()
    settings = parse(ReportSettings, config)
    runs = settings.runs if isinstance(settings.runs, list) else [settings.runs]
    path = page_file(Path(settings.output))
    page, *files = write_report(
        [Path(run) for run in runs],
        path.parent,
        title=settings.title or "",
        question=settings.question or "",
        reference=settings.reference or "",
        only=() if settings.files else (PAGE,),
        page=path.name,
        modules=settings.tables,
    )
    print(page)
    if files:
        print(f"and {len(files)} files of tables and figures beside it")


def verbatim(argument: str) -> str:
    """Quote the value of a key that takes text, in which Hydra would interpret commas and brackets.

    Args:
        argument: One argument of the command line.

    Returns:
        The argument; its value is quoted if the key takes text.

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
