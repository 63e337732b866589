"""The tables of a report: each is one function, here and in a user's own module."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hep2gan.errors import Hep2ganError
from hep2gan.reports import tables
from hep2gan.reports.tables.table import Table

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

MakeTable = Callable[["Study"], Table | None]
"""Makes a table of the runs; None where they do not have what it shows."""
M = TypeVar("M", bound=MakeTable)


class _Entry(NamedTuple):
    order: int
    name: str
    make: MakeTable


_LAST = 100
_MARK = "_report_table"


def report_table(name: str, order: int = _LAST) -> Callable[[M], M]:
    """Mark a function as a table of the report; nothing else is needed to add one.

    Args:
        name: Name of the table's files, and what `only` of `write_report` calls it.
        order: Place on the page and among the files, lowest first; equal ones are in the order of
            their names.

    Returns:
        The decorator.
    """

    def mark(make: M) -> M:
        setattr(make, _MARK, _Entry(order, name, make))
        return make

    return mark


def find_tables(modules: Sequence[str] = ()) -> dict[str, MakeTable]:
    """Find the functions marked by `report_table`: in this package, then in the given modules.

    Args:
        modules: Modules of the user's own, e.g. ["mylab.tables"], which are imported and so run.

    Returns:
        Function by the table's name, in the order of the report.

    Raises:
        Hep2ganError: If a module cannot be imported or has no table, or a name is taken.
    """
    own = [f"{tables.__name__}.{module.name}" for module in iter_modules(tables.__path__)]
    found: dict[str, _Entry] = {}
    for module in [*own, *modules]:
        entries = _entries(module)
        if module in modules and not entries:
            raise Hep2ganError(
                f"tables={module} has no table",
                "a table is a function that hep2gan.reports.tables.catalogue.report_table marks",
                'write @report_table("NAME") above it',
            )
        for entry in entries:
            if entry.name in found:
                raise Hep2ganError(
                    f"two tables are named {entry.name}", "", f"give that of {module} another name"
                )
            found[entry.name] = entry
    return {entry.name: entry.make for entry in sorted(found.values())}


def _entries(module: str) -> list[_Entry]:
    """Return the tables that a module defines itself, not those that it imports."""
    try:
        members = vars(import_module(module)).values()
    except ImportError as error:
        raise Hep2ganError(
            f"tables={module} cannot be imported ({error})",
            "it is the name of a module of your own, e.g. mylab.tables",
            f"install it, or add its folder to PYTHONPATH (Python is {sys.executable})",
        ) from error
    return [
        entry
        for member in members
        if (entry := getattr(member, _MARK, None)) and member.__module__ == module
    ]
