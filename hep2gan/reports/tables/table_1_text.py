"""Table I as Markdown and LaTeX."""

from collections.abc import Callable, Sequence

from hep2gan.reports.results import Method
from hep2gan.reports.tables.estimates import MEASURES
from hep2gan.reports.tables.framing import DRAWN
from hep2gan.reports.tables.markup import (
    code,
    latex_table,
    markdown_table,
    one_line,
    paths,
    run_list,
)
from hep2gan.reports.tables.notation import (
    ABSENT,
    hundredths,
    mean_sd,
    p_value,
    points,
    points_span,
    span,
)
from hep2gan.reports.tables.table_1 import REFERENCE, Row

_FIGURES = (
    "Percentages on the test cells. The paper's figures are of the ICPR 2016 set, one random 9 : 1 "
    "split and one run a row."
)
NOTES = (
    "Figures over several runs are mean ± standard deviation over seeds; the folds of a seed are "
    "one test set.",
    "Intervals are at 95 %: Wilson's for a method with one seed, else and besides BCa bootstrap "
    "intervals over cells and, where specimens are known, over whole specimens, whose cells are "
    "much alike: theirs is the interval for new patients.",
    "No interval stands where its units show no spread: one specimen, or all named right.",
    "Two methods are compared on cells of the same seed and fold; differences are means over "
    "seeds. McNemar's test is exact; a cell tested under several seeds counts once in it, for the "
    "method that names it right under more of them. A difference of accuracy is called more than "
    "noise where p is below 0.05 after Holm's correction over the table, by McNemar's test and, "
    "where specimens are known, by sign flips of whole specimens too; the larger p is printed. "
    "Interval and p of a mean class accuracy are over specimens where they are known, else cells.",
)


def notes(found: Sequence[Method]) -> list[str]:
    """Return what must be said below a table of these methods."""
    return [_FIGURES, *NOTES, *([DRAWN] if any(method.drawn for method in found) else [])]


def table_1_markdown(rows: Sequence[Row]) -> str:
    """Three tables (figures, intervals, comparisons), notes and the runs."""
    figures = []
    for row in rows:
        figures.append([code(row.method.title), *_figures(row)])
        if (printed := _published(row.method)) is not None:
            figures.append([f"*{field}*" for field in printed])
    intervals = [[code(row.method.title), *_intervals(row)] for row in rows]
    compared = [[code(row.method.title), *_compared(row, code)] for row in rows if row.compared]
    parts = ["# Table I\n", markdown_table(["Method", *MEASURES.values()], figures)]
    parts += ["## Accuracy: 95 % intervals\n", markdown_table(_INTERVALS, intervals)]
    if compared:
        parts += [f"## {_heading(rows, code)}\n", markdown_table(_COMPARED, compared)]
    parts += [note + "\n" for note in notes([row.method for row in rows])]
    return "\n".join([*parts, run_list({row.method.title: row.method.runs for row in rows})])


def table_1_latex(rows: Sequence[Row]) -> str:
    """One `table*` a part: figures with the paper's below ours, intervals, comparisons."""
    figures = []
    for row in rows:
        printed = _published(row.method)
        own = [row.method.title, *_figures(row)]
        figures.append([own] if printed is None else [own, printed])
    intervals = [[row.method.title, *_intervals(row)] for row in rows]
    compared = [[row.method.title, *_compared(row, str)] for row in rows if row.compared]
    below = notes([row.method for row in rows])
    text = "% needs \\usepackage{booktabs,graphicx}\n"
    text += "".join(f"% {one_line(row.method.title)}: {paths(row.method.runs)}\n" for row in rows)
    text += latex_table(
        ["Method", *MEASURES.values()], figures, "Methods on the test cells.", "tab:methods", below
    )
    text += latex_table(_INTERVALS, [intervals], "Accuracy: 95 % intervals.", "tab:intervals")
    if compared:
        words = _heading(rows, str)
        text += latex_table(_COMPARED, [compared], f"{words}.", "tab:comparisons")
    return text


_INTERVALS = ["Method", "Tested on", "Specimens", "Wilson", "Over cells", "Over specimens"]
_COMPARED = ["Method", "Against", "Same cells", "Right here alone", "Right there alone"]
_COMPARED += ["Accuracy, points", "Over cells", "Over specimens", "Mean class accuracy, points"]
_COMPARED += ["McNemar, Holm", "Verdict"]


def _heading(rows: Sequence[Row], named: Callable[[str], str]) -> str:
    reference = [named(row.method.title) for row in rows if row.comparison == REFERENCE]
    return f"Each method against {reference[0] if reference else 'the row below'}"


def _figures(row: Row) -> list[str]:
    found = [row.estimates.get(measure) for measure in MEASURES]
    return [ABSENT if one is None else mean_sd(one.mean, one.sd) for one in found]


def _published(method: Method) -> list[str] | None:
    if (printed := method.published) is None:
        return None
    values = [printed.metrics.get(f"test/{measure}") for measure in MEASURES]
    return [f"Paper: {printed.name}", *map(hundredths, values)]


def _intervals(row: Row) -> list[str]:
    specimens = row.method.cells.specimens
    found = row.estimates.get("accuracy")
    ends = (row.wilson, found.cells, found.specimens) if found else (None, None, None)
    return [row.method.cells_in_words, str(specimens or "unknown"), *map(span, ends)]


def _compared(row: Row, named: Callable[[str], str]) -> list[str]:
    comparison = row.comparison
    if isinstance(comparison, str):
        return [*[ABSENT] * (len(_COMPARED) - 2), comparison]
    over_specimens, by_class = comparison.over_specimens, comparison.mean_class_accuracy
    return [
        named(comparison.other.title),
        f"{comparison.cells:,}",
        str(comparison.only_here),
        str(comparison.only_there),
        points(comparison.over_cells.estimate),
        points_span(comparison.over_cells.interval),
        points_span(over_specimens.interval) if over_specimens else ABSENT,
        f"{points(by_class.estimate)} ({points_span(by_class.interval)}; "
        f"{p_value(comparison.p_class_holm)})",
        p_value(comparison.p_cells_holm),
        comparison.verdict,
    ]
