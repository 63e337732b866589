"""All tables of a set of runs, as files."""

from collections.abc import Sequence
from pathlib import Path

from hep2gan.errors import Hep2ganError
from hep2gan.reports.folds_table import folds
from hep2gan.reports.folds_text import folds_csv, folds_markdown
from hep2gan.reports.leakage_table import leakage
from hep2gan.reports.leakage_text import leakage_csv, leakage_markdown
from hep2gan.reports.methods import Result, methods, read_results
from hep2gan.reports.priors_table import priors, priors_csv, priors_markdown
from hep2gan.reports.table_1 import table_1
from hep2gan.reports.table_1_csv import table_1_csv
from hep2gan.reports.table_1_text import table_1_latex, table_1_markdown
from hep2gan.whole import write_whole


def write_tables(runs: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Write the tables that `runs` make, each file whole or not at all; same runs, same bytes.

    table_1.{md,tex,csv} always; leakage, priors and folds as .md and .csv where there are several
    kinds of split, generated masks, folds. runs: folders of finished runs. Returns name to file.
    Raises Hep2ganError naming the run when one is missing, unfinished or damaged; then nothing is
    written.
    """
    if not runs:
        raise Hep2ganError("there are no runs to compare", "a table needs at least one")
    texts = table_texts(read_results(runs))
    folder.mkdir(parents=True, exist_ok=True)
    written = {name: folder / name for name in texts}
    for name, path in written.items():
        write_whole(path, texts[name])
    return written


def table_texts(results: Sequence[Result]) -> dict[str, str]:
    """File name to content."""
    found = methods(results)
    rows = table_1(found)
    texts = {"table_1.md": table_1_markdown(rows), "table_1.tex": table_1_latex(rows)}
    texts["table_1.csv"] = table_1_csv(rows)
    protocols, gaps = leakage(results)
    if protocols:
        texts["leakage.md"] = leakage_markdown(protocols, gaps)
        texts["leakage.csv"] = leakage_csv(protocols, gaps)
    if masks := priors(found):
        texts |= {"priors.md": priors_markdown(masks), "priors.csv": priors_csv(masks)}
    if validated := folds(found):
        texts |= {"folds.md": folds_markdown(validated), "folds.csv": folds_csv(validated)}
    return texts
