"""hep2gan-report: one self-contained HTML file about one or more runs, tables and figures."""

from pathlib import Path
from typing import Any

from hep2gan.cli.app import run
from hep2gan.errors import bullet_list, pluralize


def report(config: dict[str, Any]) -> Path:
    """Write the report about the given runs and print its path.

    Args:
        config: The resolved configuration, see `ReportSettings`.

    Returns:
        The page.
    """
    from hep2gan.cli.settings import ReportSettings
    from hep2gan.io import silence_libraries
    from hep2gan.runs.finished import find_runs
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse

    silence_libraries()
    settings = parse(ReportSettings, config)
    named = settings.runs if isinstance(settings.runs, list) else [settings.runs]
    runs, left = [], []
    for path in map(Path, named):
        done, rest = ([], []) if RunFolder(path).config_file.is_file() else find_runs(path)
        if not done:
            RunFolder(path).require_started()
        runs += done or [path]
        left += rest
    # Last, since what plots takes seconds to import.
    from hep2gan.reports.build import PAGE, page_file, write_report

    target = page_file(Path(settings.output))
    page, *files = write_report(
        runs,
        target.parent,
        title=settings.title or "",
        question=settings.question or "",
        reference=settings.reference or "",
        only=() if settings.files else (PAGE,),
        page=target.name,
        modules=settings.tables,
    )
    print(page)
    if files:
        print(f"and {pluralize(len(files), 'file')} of tables and figures beside it")
    if left:
        print(f"left out, not finished\n{bullet_list(list(map(str, left)))}")
    return page


def main() -> None:
    """Run the command."""
    run(report, "report", ("runs*",))


if __name__ == "__main__":
    main()
