"""Tables as Markdown, LaTeX and CSV text."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.reports.results import MethodResults
from hep2gan.statistics.intervals import Interval

Value = str | int | float | bool | None

_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "’": "'",
}


class TextTable(NamedTuple):
    """A table of printed fields, the first column naming its rows."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table, its first column left, the others right; text may hold code and emphasis."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"


NamedRuns = Callable[[str], str]
"""How a table writes a name: `code` in Markdown, `str` where nothing needs to be escaped."""


def inline_code(text: str) -> str:
    """A name in Markdown, whatever it holds."""
    return "`" + join_lines(text).replace("`", "'").replace("|", "\\|") + "`"


def run_list(runs: Mapping[str, Sequence[Path]]) -> str:
    """The runs below a Markdown table: a line a row of the table."""
    lines = [
        f"- {inline_code(name)}: {', '.join(inline_code(str(p)) for p in r)}"
        for name, r in runs.items()
    ]
    return "\n".join(["Runs:", "", *lines]) + "\n"


def escape_latex(text: str) -> str:
    """Escape what LaTeX takes for commands; dashes and signs become its own."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def latex_table(
    header: Sequence[str],
    blocks: Sequence[Sequence[Sequence[str]]],
    caption: str,
    label: str,
    notes: Sequence[str] = (),
) -> str:
    """A `table*` with booktabs' rules, a rule between blocks of rows, notes below; all is escaped.

    A table wider than the page shrinks to it. The document needs \\usepackage{booktabs,graphicx}.
    """
    lines = [r"\begin{table*}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"]
    lines += [rf"\caption{{{escape_latex(caption)}}}", rf"\label{{{label}}}"]
    shrunk = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
    lines += [rf"{shrunk}\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}"]
    lines += [r"\toprule", _latex_row(header)]
    for rows in blocks:
        lines += [r"\midrule", *map(_latex_row, rows)]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if notes:
        lines += ["", r"\medskip\begin{minipage}{0.95\linewidth}"]
        lines += ["\n\n".join(map(escape_latex, notes)), r"\end{minipage}"]
    lines.append(r"\end{table*}")
    return "\n".join(lines) + "\n"


def csv_table(rows: Sequence[Mapping[str, Value]]) -> str:
    """One value a column at full precision, empty where there is none; columns of the first row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def join_lines(text: str) -> str:
    """Text whose white space cannot end a comment or a row."""
    return " ".join(text.split())


def run_paths(runs: Sequence[Path]) -> str:
    """The runs of a row in one CSV field."""
    return ";".join(str(run) for run in runs)


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(escape_latex(field) for field in fields) + r" \\"


def _field(value: Value) -> str:
    if value is None or value != value:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


SYNTHETIC_NOTE = (
    "Drawn cells are no micrographs: their figures cannot be held against the paper's and say "
    "nothing about patients' cells."
)


def rows_below(
    note: str, methods: Iterable[MethodResults], runs: Mapping[str, Sequence[Path]]
) -> list[str]:
    """The parts below a Markdown table: its note, what drawn cells are worth, the runs."""
    drawn = [SYNTHETIC_NOTE + "\n"] if any(method.is_synthetic for method in methods) else []
    return [note + "\n", *drawn, run_list(runs)]


def row_identity(method: MethodResults) -> dict[str, Value]:
    """The first columns of a CSV line: study, method, whether its cells are drawn."""
    return {"study": method.study, "method": method.name, "drawn": method.is_synthetic}


ABSENT = "–"
LEVEL = 0.05
"""A difference with a smaller (corrected) p value is called more than noise."""


def hundredths(value: float | None) -> str:
    """A fraction as a percentage without its sign; a dash where there is none."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Mean ± standard deviation, as percentages."""
    return hundredths(mean) if sd is None else f"{hundredths(mean)} ± {hundredths(sd)}"


def format_interval(interval: Interval | None) -> str:
    """Both ends, as percentages."""
    return ABSENT if interval is None else f"{hundredths(interval.low)}–{hundredths(interval.high)}"


def format_points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}")


def format_points_interval(interval: Interval | None) -> str:
    """Both ends of a difference's interval."""
    if interval is None:
        return ABSENT
    return f"{format_points(interval.low)} to {format_points(interval.high)}"


def p_value(p: float) -> str:
    """P value in words that fit into a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def verdict(p: float) -> str:
    """Say whether a difference is more than noise, with its p value."""
    return f"{'more than' if p < LEVEL else 'within'} noise ({p_value(p)})"
