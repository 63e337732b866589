"""What tables of methods have in common: the words below them, the first columns of their CSV."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hep2gan.reports.results import Method
from hep2gan.reports.tables.markup import Value, run_list

DRAWN = (
    "Drawn cells are no micrographs: their figures cannot be held against the paper's and say "
    "nothing about patients' cells."
)


def below(note: str, methods: Iterable[Method], runs: Mapping[str, Sequence[Path]]) -> list[str]:
    """The parts below a Markdown table: its note, what drawn cells are worth, the runs."""
    drawn = [DRAWN + "\n"] if any(method.drawn for method in methods) else []
    return [note + "\n", *drawn, run_list(runs)]


def identity(method: Method) -> dict[str, Value]:
    """The first columns of a CSV line: study, method, whether its cells are drawn."""
    return {"study": method.study, "method": method.name, "drawn": method.drawn}
