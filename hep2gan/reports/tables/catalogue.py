"""All tables that a set of runs makes."""

from collections.abc import Callable

from hep2gan.reports.study import Study
from hep2gan.reports.tables.baselines import baselines_table
from hep2gan.reports.tables.classes import classes_table
from hep2gan.reports.tables.folds import folds_table
from hep2gan.reports.tables.leakage import leakage_table
from hep2gan.reports.tables.specimens import specimens_table
from hep2gan.reports.tables.table import Table
from hep2gan.reports.tables.table_1 import table_1

TABLES: dict[str, Callable[[Study], Table | None]] = {
    "table_1": lambda study: table_1(study.table_1),
    "leakage": lambda study: leakage_table(*study.leakage),
    "baselines": lambda study: baselines_table(study.methods),
    "folds": lambda study: folds_table(study.methods),
    "classes": lambda study: classes_table(study.methods),
    "specimens": lambda study: specimens_table(study.methods),
}
"""Name of a table's files, and what makes it: None where the runs do not have what it shows."""


def make_tables(study: Study) -> dict[str, Table]:
    """Return the tables that these runs make, by name."""
    made = {name: make(study) for name, make in TABLES.items()}
    return {name: table for name, table in made.items() if table is not None}


def table_files(tables: dict[str, Table]) -> dict[str, str]:
    """Return file name to content; the same runs give the same bytes."""
    writers = {"md": Table.to_markdown, "tex": Table.to_latex, "csv": Table.to_csv}
    return {
        f"{name}.{ending}": write(table)
        for name, table in tables.items()
        for ending, write in writers.items()
        if ending in table.outputs
    }
