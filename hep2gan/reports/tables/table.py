"""A table of typed cells, and its four writers: Markdown, LaTeX, CSV and HTML."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar

from jinja2 import StrictUndefined, Template

from hep2gan.io import csv_text
from hep2gan.reports.results import MethodResults
from hep2gan.statistics.methods import PairedDifference
from hep2gan.statistics.significance import Interval

Value = str | int | float | bool | None
V = TypeVar("V", int, float, str)
Output = Literal["md", "tex", "csv", "html"]

ABSENT = "–"
LEVEL = 0.05
"""A difference with a smaller (corrected) p value is called more than noise."""
SYNTHETIC_NOTE = (
    "Synthetic cells are not micrographs: their results cannot be compared with the paper's and "
    "say nothing about patients' cells."
)
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
    "×": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "’": "'",
}
_HTML = Template(
    """\
{% macro line(row, cells, columns) %}
<tr{% if row.kind not in ("", "total") %} class="{{ row.kind }}"{% endif %}><th scope="row"\
{% if not row.parts %} colspan="{{ columns }}"{% endif %}>{{ link(cells[0]) }}</th>
{%- for cell in cells[1:] %}<td data-label="{{ cell.heading }}">{{ link(cell) }}</td>{% endfor %}\
</tr>
{% endmacro %}
{% for number, part, columns, lines in printed %}
{% set note = anchor ~ "-note-" ~ (number + 1) %}
{% if part.caption %}
<p class="small" id="{{ note }}">{{ part.words }}.</p>
{% endif %}
<table class="{{ "words " if table.words }}{{ "dense " if columns | length > 8 }}\
{{ "wide" if columns | length > 4 or table.words }}"\
{% if part.caption %} aria-describedby="{{ note }}"\
{% elif anchor %} aria-labelledby="{{ anchor }}"{% endif %}>
<thead><tr>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row, cells in lines if row.kind != "total" %}
{{ line(row, cells, columns | length) }}
{%- endfor %}
</tbody>
{% for row, cells in lines if row.kind == "total" %}
<tfoot>{{ line(row, cells, columns | length) | trim }}</tfoot>
{% endfor %}
</table>
{{ "\\n" if not loop.last -}}
{% endfor %}
{% for note in table.paragraphs %}
<p class="small">{{ note }}</p>
{% endfor %}
""",
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Cell(NamedTuple):
    """One field of a row.

    Attributes:
        heading: Of its column; empty for what only the CSV file holds.
        text: As Markdown, LaTeX and HTML print it.
        values: Columns of the CSV file at full precision: name to value, None where there is none.
        note: What HTML prints beside the text in small type, such as an interval.
        runs: The run folders that the text is about, to which HTML links.
        code: Whether it is a name, which Markdown sets as code.
    """

    heading: str = ""
    text: str = ""
    values: Mapping[str, Value] = MappingProxyType({})
    note: str = ""
    runs: Sequence[Path] = ()
    code: bool = False


class Row(NamedTuple):
    """One row of each part of a table that it has cells in, and one line of the CSV file.

    Attributes:
        head: The cells that name it, in every part.
        parts: Its cells in each part. Without any, the head spans all columns.
        label: What the list of runs calls it; empty is the text of its first cell.
        runs: Its run folders, where they are not those of its first cell.
        kind: `paper` rows are set in italics, a `total` is the table's foot; `run`, `mean` and
            `comparison` are classes of HTML.
    """

    head: Sequence[Cell]
    parts: Sequence[Sequence[Cell]] = ()
    label: str = ""
    runs: Sequence[Path] = ()
    kind: Literal["", "run", "mean", "paper", "comparison", "total"] = ""

    @property
    def values(self) -> dict[str, Value]:
        """Its columns of the CSV file."""
        return {
            name: value
            for cell in chain(self.head, *self.parts)
            for name, value in cell.values.items()
        }


class Part(NamedTuple):
    """Columns of a table that are printed apart from the others.

    Attributes:
        caption: One sentence without its full stop; that of the first part is not in Markdown.
        method: A method's name at the end of the caption.
        label: Of LaTeX, without `tab:`.
        ruled: Whether LaTeX draws a rule above every row.
    """

    caption: str = ""
    method: str = ""
    label: str = ""
    ruled: bool = False

    @property
    def words(self) -> str:
        """The caption with the name."""
        return f"{self.caption} {self.method}".rstrip()


@dataclass(frozen=True)
class Table:
    """A table that is written as Markdown, LaTeX, CSV and HTML; cells hold their headings.

    Attributes:
        title: Its heading.
        rows: At least one; those of a part have cells of the same headings.
        parts: What is printed apart; one where the table is printed as a whole.
        notes: Paragraphs below it; what synthetic cells are worth is added where there are any.
        findings: What it shows in words: a name, and what is said of it.
        text: A sentence above it in HTML.
        folded: What HTML folds it into; empty shows it.
        words: Whether its cells hold words, which HTML sets to the left; numbers stand right.
        outputs: What a report writes of it: files, and `html` for its page.
    """

    title: str
    rows: Sequence[Row]
    parts: Sequence[Part] = (Part(),)
    notes: Sequence[str] = ()
    findings: Sequence[tuple[str, str]] = ()
    text: str = ""
    folded: str = ""
    words: bool = False
    outputs: Sequence[Output] = ("md", "csv", "html")

    def to_markdown(self) -> str:
        """Return headings, findings, pipe tables, notes, and the runs of each row."""
        blocks = [f"# {self.title}\n"]
        if self.findings:
            points = [f"- {inline_code(name)}: {text}" for name, text in self.findings]
            blocks.append("\n".join(points) + "\n")
        for number, part, names, lines in self._printed():
            if number and part.caption:
                method = f" {inline_code(part.method)}" if part.method else ""
                blocks.append(f"## {part.caption}{method}\n")
            blocks.append(_pipe_table(names, lines))
        blocks += [f"{note}\n" for note in self.paragraphs]
        runs = [
            f"- {inline_code(name)}: {', '.join(inline_code(str(run)) for run in own)}"
            for name, own in self._runs().items()
        ]
        if runs:
            blocks.append("\n".join(["Runs:", "", *runs]) + "\n")
        return "\n".join(blocks)

    def to_latex(self) -> str:
        """Return a `table*` a part, with booktabs' rules; all text is escaped.

        A table wider than the page shrinks to it. The notes stand below the first. The document
        needs \\usepackage{booktabs,graphicx}.
        """
        text = "% needs \\usepackage{booktabs,graphicx}\n"
        for name, runs in self._runs().items():
            text += f"% {_one_line(name)}: {_paths(runs)}\n"
        for number, part, names, lines in self._printed():
            head = [
                r"\begin{table*}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{escape_latex(part.words or self.title)}.}}",
                *[rf"\label{{tab:{part.label}}}"] * bool(part.label),
            ]
            body = _latex_rows(names, lines, ruled=part.ruled)
            notes = [escape_latex(note) for note in self.paragraphs] if number == 0 else []
            if notes:
                body += ["", r"\medskip\begin{minipage}{0.95\linewidth}"]
                body += ["\n\n".join(notes), r"\end{minipage}"]
            text += "\n".join([*head, *body, r"\end{table*}"]) + "\n"
        return text

    def to_csv(self) -> str:
        """Return a line a row that has values, its runs last; empty where there is no value."""
        lines = [
            row.values | {"run_paths": _paths(row.runs or row.head[0].runs)}
            for row in self.rows
            if row.values
        ]
        names = dict.fromkeys(name for row in self.rows for name in row.values)
        fields = ({name: _csv_field(value) for name, value in line.items()} for line in lines)
        return csv_text([*names, "run_paths"], fields)

    def to_html(self, link: Callable[[Cell], str], anchor: str = "") -> str:
        """Return a `<table>` a part, its caption above, and the notes below all of them.

        Args:
            link: Returns the markup of a cell: its text with links to its runs.
            anchor: Id of the heading above, in the ids of the captions; empty where there is none.
        """
        return str(_HTML.render(table=self, printed=self._printed(), link=link, anchor=anchor))

    @property
    def paragraphs(self) -> list[str]:
        """The notes, with a note on synthetic cells if a row is about them."""
        synthetic = any(row.values.get("synthetic") for row in self.rows)
        return [*self.notes, *[SYNTHETIC_NOTE] * synthetic]

    def _printed(self) -> Iterator[tuple[int, Part, list[str], "_Lines"]]:
        """Yield each part that any row has cells in: its place, itself, its headings and rows."""
        for number, part in enumerate(self.parts):
            lines = []
            for row in self.rows:
                own = row.parts[number] if number < len(row.parts) else ()
                cells = [cell for cell in own if cell.heading]
                if cells or not row.parts:
                    lines.append((row, [*(cell for cell in row.head if cell.heading), *cells]))
            if lines:
                widest = max((cells for _, cells in lines), key=len)
                yield number, part, [cell.heading for cell in widest], lines

    def _runs(self) -> dict[str, Sequence[Path]]:
        """Return the runs of each row whose first cell has any, by its label."""
        return {
            row.label or row.head[0].text: row.head[0].runs for row in self.rows if row.head[0].runs
        }


_Lines = Sequence[tuple[Row, Sequence[Cell]]]
"""The rows of a part, each with its printed cells."""


def hundredths(value: float | None) -> str:
    """Format a fraction as a percentage without its sign.

    Args:
        value: The fraction; a dash is printed for None or NaN.
    """
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Format mean ± standard deviation as percentages.

    Args:
        mean: Mean, a fraction or None.
        sd: Standard deviation; None leaves it out.
    """
    return hundredths(mean) if sd is None else f"{hundredths(mean)} ± {hundredths(sd)}"


def format_interval(
    interval: Interval | None, form: Callable[[float], str] = hundredths, between: str = "–"
) -> str:
    """Format both ends of an interval.

    Args:
        interval: The interval; a dash is printed for None.
        form: Format of an end; a percentage by default.
        between: Text between the ends.
    """
    return ABSENT if interval is None else between.join(map(form, interval))


def format_points(value: float) -> str:
    """Format a difference of fractions in percentage points, with its sign.

    Args:
        value: The difference.
    """
    return f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}")


def format_pixels(value: float) -> str:
    """Format a difference of distances in pixels, with its sign.

    Args:
        value: The difference.
    """
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


format_points_interval = partial(format_interval, form=format_points, between=" to ")


def p_value(p: float) -> str:
    """Format a p value in words that fit into a sentence.

    Args:
        p: The p value.
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def verdict(found: PairedDifference, p: float, *, folded: bool = False) -> str:
    """State whether a difference is more than noise, with its p value.

    Noise is that of training and of the specimens tested, so that it takes several seeds to say
    anything of methods; with fewer only the trainings are told apart.

    Args:
        found: The difference.
        p: Its p value, corrected for the other comparisons of the table.
        folded: Whether each method was trained once a fold, not once.
    """
    if found.few is not None:
        return "no verdict: too few specimens, blocks or cells"
    if found.same:
        return "the same results"
    if found.of_methods:
        return f"{'' if p < LEVEL else 'not shown to be '}more than noise ({p_value(p)})"
    if found.seeds > 1:
        return f"{found.seeds} seeds: too few for a verdict on methods ({p_value(p)})"
    differ = "differ" if p < LEVEL else "are not shown to differ"
    which = "these trainings" if folded else "these two trainings"
    return f"{which} {differ} ({p_value(p)}); one seed: no verdict on methods"


def method_cell(method: MethodResults) -> Cell:
    """Name a method by its title, with its runs; the CSV file has its study and name.

    Args:
        method: The method.
    """
    return Cell(
        "Method",
        method.title,
        {"study": method.study, "method": method.name, "synthetic": method.is_synthetic},
        runs=method.runs,
        code=True,
    )


def value_cell(heading: str, name: str, value: V | None, form: Callable[[V], str] = str) -> Cell:
    """Print a value, or a dash if there is none.

    Args:
        heading: Heading of its column.
        name: Its column in the CSV file.
        value: The value, or None.
        form: Format of the value.
    """
    return Cell(heading, ABSENT if value is None else form(value), {name: value})


def interval_cell(
    heading: str,
    name: str,
    interval: Interval | None,
    form: Callable[[Interval | None], str] = format_interval,
) -> Cell:
    """Print both ends of an interval.

    Args:
        heading: Heading of its column.
        name: Its columns in the CSV file, without `_low` and `_high`.
        interval: The interval, or None.
        form: Format of the interval; percentages by default.
    """
    return Cell(heading, form(interval), interval_values(name, interval))


def interval_values(name: str, interval: Interval | None) -> dict[str, Value]:
    """Return the two columns of an interval in a CSV file.

    Args:
        name: Name of the columns, without `_low` and `_high`.
        interval: The interval, or None.
    """
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def inline_code(text: str) -> str:
    """Format any name as code of Markdown.

    Args:
        text: The name.
    """
    return "`" + _one_line(text).replace("`", "'").replace("|", "\\|") + "`"


def escape_latex(text: str) -> str:
    """Escape characters that are special in LaTeX; dashes and signs become those of LaTeX.

    Args:
        text: The text.
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _pipe_table(names: list[str], lines: _Lines) -> str:
    """Return a table of Markdown, its first column left, the others right."""
    rows = [names, [":--", *["--:"] * (len(names) - 1)]]
    for row, cells in lines:
        texts = [inline_code(cell.text) if cell.code else cell.text for cell in cells]
        rows.append([f"*{text}*" for text in texts] if row.kind == "paper" else texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _latex_rows(names: list[str], lines: _Lines, *, ruled: bool) -> list[str]:
    shrunk = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
    begin = rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}"
    found = [shrunk + begin, r"\toprule", _latex_row(names)]
    for number, (row, cells) in enumerate(lines):
        rule = [r"\midrule"] if number == 0 or (ruled and row.kind != "paper") else []
        found += [*rule, _latex_row([cell.text for cell in cells])]
    return [*found, r"\bottomrule", r"\end{tabular}}"]


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, fields)) + r" \\"


def _one_line(text: str) -> str:
    """Return text whose white space cannot end a comment or a row."""
    return " ".join(text.split())


def _paths(runs: Sequence[Path]) -> str:
    return ";".join(str(run) for run in runs)


def _csv_field(value: Value) -> str:
    if value is None or value != value:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
