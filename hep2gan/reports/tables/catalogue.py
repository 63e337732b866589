"""All tables that a set of runs makes."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.reports.results import Method, Result
from hep2gan.reports.tables.baselines import PriorsRow, priors, priors_csv, priors_markdown
from hep2gan.reports.tables.classes import ClassRow, classes, classes_csv, classes_markdown
from hep2gan.reports.tables.folds import FoldsRow, folds, folds_csv, folds_markdown
from hep2gan.reports.tables.leakage import Gap, ProtocolRow, leakage, leakage_csv, leakage_markdown
from hep2gan.reports.tables.specimens import SpecimenRow, specimen_rows, specimens_csv
from hep2gan.reports.tables.table_1 import (
    Row,
    table_1,
    table_1_csv,
    table_1_latex,
    table_1_markdown,
)

TABLES = ("table_1", "leakage", "priors", "folds", "classes", "specimens")


class Tables(NamedTuple):
    """Table I, and the rows of the others where the runs have several kinds of split, generated
    masks, folds, classifiers, known specimens."""

    table_1: list[Row]
    protocols: list[ProtocolRow]
    gaps: list[Gap]
    priors: list[PriorsRow]
    folds: list[FoldsRow]
    classes: list[ClassRow]
    specimens: list[SpecimenRow]


def tables(results: Sequence[Result], found: Sequence[Method], reference: str = "") -> Tables:
    """Compute all tables of results, which are gathered in methods; reference: of `table_1`."""
    return Tables(
        table_1(found, reference),
        *leakage(results),
        priors(found),
        folds(found),
        classes(found),
        specimen_rows(found),
    )


def table_texts(tables: Tables) -> dict[str, str]:
    """File name to content; the same runs give the same bytes."""
    rows = tables.table_1
    texts = {"table_1.md": table_1_markdown(rows), "table_1.tex": table_1_latex(rows)}
    texts["table_1.csv"] = table_1_csv(rows)
    if tables.protocols:
        texts["leakage.md"] = leakage_markdown(tables.protocols, tables.gaps)
        texts["leakage.csv"] = leakage_csv(tables.protocols, tables.gaps)
    if tables.priors:
        texts |= {"priors.md": priors_markdown(tables.priors)}
        texts |= {"priors.csv": priors_csv(tables.priors)}
    if tables.folds:
        texts |= {"folds.md": folds_markdown(tables.folds), "folds.csv": folds_csv(tables.folds)}
    if tables.classes:
        texts |= {"classes.md": classes_markdown(tables.classes)}
        texts |= {"classes.csv": classes_csv(tables.classes)}
    if tables.specimens:
        texts["specimens.csv"] = specimens_csv(tables.specimens)
    return texts
