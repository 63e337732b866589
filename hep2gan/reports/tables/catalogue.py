"""All tables that a set of runs makes."""

from collections.abc import Sequence
from typing import NamedTuple

from hep2gan.reports.results import MethodResults, RunResult
from hep2gan.reports.tables.baselines import (
    BaselinesRow,
    baseline_rows,
    baselines_csv,
    baselines_markdown,
)
from hep2gan.reports.tables.classes import (
    ClassScoresRow,
    class_scores_rows,
    classes_csv,
    classes_markdown,
)
from hep2gan.reports.tables.folds import FoldsRow, folds_csv, folds_markdown, folds_rows
from hep2gan.reports.tables.leakage import (
    Gap,
    ProtocolRow,
    leakage_csv,
    leakage_markdown,
    leakage_rows,
)
from hep2gan.reports.tables.specimens import SpecimenTableRow, specimen_table_rows, specimens_csv
from hep2gan.reports.tables.table_1 import (
    Table1Row,
    table_1,
    table_1_csv,
    table_1_latex,
    table_1_markdown,
)

TABLE_NAMES = ("table_1", "leakage", "priors", "folds", "classes", "specimens")


class Tables(NamedTuple):
    """Table I, and the rows of the others where the runs have several kinds of split, generated
    masks, folds, classifiers, known specimens."""

    table_1: list[Table1Row]
    protocols: list[ProtocolRow]
    gaps: list[Gap]
    priors: list[BaselinesRow]
    folds: list[FoldsRow]
    classes: list[ClassScoresRow]
    specimens: list[SpecimenTableRow]


def build_tables(
    results: Sequence[RunResult], found: Sequence[MethodResults], reference: str = ""
) -> Tables:
    """Compute all tables of results, which are gathered in methods; reference: of `table_1`."""
    return Tables(
        table_1(found, reference),
        *leakage_rows(results),
        baseline_rows(found),
        folds_rows(found),
        class_scores_rows(found),
        specimen_table_rows(found),
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
        texts |= {"priors.md": baselines_markdown(tables.priors)}
        texts |= {"priors.csv": baselines_csv(tables.priors)}
    if tables.folds:
        texts |= {"folds.md": folds_markdown(tables.folds), "folds.csv": folds_csv(tables.folds)}
    if tables.classes:
        texts |= {"classes.md": classes_markdown(tables.classes)}
        texts |= {"classes.csv": classes_csv(tables.classes)}
    if tables.specimens:
        texts["specimens.csv"] = specimens_csv(tables.specimens)
    return texts
