"""The share of each part of a training step, as a table and as plain containers."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A part of a step: the network whose step it belongs to, or what else; its name there."""

    group: str
    name: str


class Spread(NamedTuple):
    """The mean of some figures, their median and quartiles."""

    mean: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """From one figure or more."""
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else [*values] * 3
        )
        return cls(statistics.fmean(values), median, low, high)


@dataclass(frozen=True)
class StepProfile:
    """Steps that train the same networks: the seconds of each part, which leave nothing out.

    trained: the networks. cells: of a step, on this device. device: in words. left_out: steps that
    came before and do not count. Raises ValueError without any step.
    """

    trained: Sequence[str]
    steps: Sequence[Mapping[Part, float]]
    cells: int
    device: str
    left_out: int = 0

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a profile needs a step")

    @property
    def parts(self) -> list[Part]:
        """Every part in the order of a step; groups follow each other as they end in it."""
        found = list(dict.fromkeys(part for step in self.steps for part in step))
        ends = {part.group: place for place, part in enumerate(found)}
        return sorted(found, key=lambda part: ends[part.group])

    @property
    def step(self) -> Spread:
        """Seconds of a whole step."""
        return Spread.of([sum(step.values()) for step in self.steps])

    def spread(self, *parts: Part) -> Spread:
        """Seconds of some parts together; a step without them counts as 0."""
        return Spread.of([sum(step.get(part, 0.0) for part in parts) for step in self.steps])

    def share(self, *parts: Part) -> float:
        """Of the time of all steps; the shares of all parts add up to 1."""
        return self.spread(*parts).mean / self.step.mean

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON; times are seconds."""
        parts = [
            {"group": part.group, "part": part.name, "share": self.share(part)}
            | {"seconds": self.spread(part)._asdict()}
            for part in self.parts
        ]
        return {
            "trained": list(self.trained),
            "steps": len(self.steps),
            "steps_left_out": self.left_out,
            "cells": self.cells,
            "device": self.device,
            "seconds": self.step._asdict(),
            "parts": parts,
        }

    @property
    def table(self) -> str:
        """The same as Markdown: what is profiled in a line, then a row a group and a row a part."""
        rows = [("part of a training step", "share", "mean, ms", "quartiles, ms")]
        for group in dict.fromkeys(part.group for part in self.parts):
            own = [part for part in self.parts if part.group == group]
            rows.append(self._row(f"**{group}**", *own))
            rows += [self._row(f"· {part.name}", part) for part in own]
        rows.append(self._row("**the whole step**", *self.parts))
        return f"{self._words}\n\n{_aligned(rows)}"

    @property
    def _words(self) -> str:
        before = f", {self.left_out} before them left out" if self.left_out else ""
        number = "One step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        speed = f"{self.cells / self.step.mean:.3g} cells a second"
        trained = ", ".join(self.trained)
        return (
            f"{number} of {self.cells} cells on {self.device}{before}: {speed}. Trained: {trained}."
        )

    def _row(self, name: str, *parts: Part) -> tuple[str, str, str, str]:
        spread = self.spread(*parts)
        quartiles = f"{_milliseconds(spread.low)}–{_milliseconds(spread.high)}"
        return name, f"{100 * self.share(*parts):.1f} %", _milliseconds(spread.mean), quartiles


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns also stand below each other; numbers at their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = " | ".join("-" * (w - bool(n)) + ":" * bool(n) for n, w in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))
