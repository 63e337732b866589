"""Rows of the table: what is measured, against what, and how far it must reach."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from experiments.benchmarks.pairs import Ratio


@dataclass(frozen=True)
class Row:
    """One line. reach: "at most" or "at least" `limit` times. unit: of the two medians."""

    what: str
    against: str
    side: Literal["at most", "at least"]
    limit: float
    ratio: Ratio
    unit: str = "s"

    @property
    def met(self) -> bool:
        """Whether the median reaches the limit."""
        median = self.ratio.median
        return median <= self.limit if self.side == "at most" else median >= self.limit

    @property
    def line(self) -> str:
        """The row as Markdown."""
        sign = "≤" if self.side == "at most" else "≥"
        r = self.ratio
        return (
            f"| {self.what} | {self.against} | {sign} {self.limit:g} | **{number(r.median)}**"
            f" ({number(r.low)}–{number(r.high)}) | {number(r.ours)} {self.unit}"
            f" | {number(r.theirs)} {self.unit} | {r.pairs} | {'yes' if self.met else '**no**'} |"
        )


HEAD = (
    "| what | against | reach | ratio (quartiles) | ours | theirs | pairs | met |\n"
    "|---|---|---|---|---|---|---|---|"
)


def number(value: float) -> str:
    """Three significant digits, never in exponents."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: Iterable[Row]) -> str:
    """All rows as one Markdown table."""
    return "\n".join([HEAD, *(row.line for row in rows)])


def save(rows: Iterable[Row], path: Path) -> None:
    """Write rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Read what `save` wrote."""
    return [
        Row(**(found | {"ratio": Ratio(*found["ratio"])}))
        for found in json.loads(path.read_text(encoding="utf-8"))
    ]
