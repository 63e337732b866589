"""Numbers as tables print them: percentages with two decimals, as the paper has them."""

import math

from hep2gan.statistics.intervals import Interval

ABSENT = "–"
LEVEL = 0.05
"""A difference with a smaller (corrected) p value is called more than noise."""


def hundredths(value: float | None) -> str:
    """A fraction as a percentage without its sign; a dash where there is none."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Mean ± standard deviation, as percentages."""
    return hundredths(mean) if sd is None else f"{hundredths(mean)} ± {hundredths(sd)}"


def span(interval: Interval | None) -> str:
    """Both ends, as percentages."""
    return ABSENT if interval is None else f"{hundredths(interval.low)}–{hundredths(interval.high)}"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}")


def points_span(interval: Interval | None) -> str:
    """Both ends of a difference's interval."""
    if interval is None:
        return ABSENT
    return f"{points(interval.low)} to {points(interval.high)}"


def p_value(p: float) -> str:
    """P value in words that fit into a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def verdict(p: float) -> str:
    """Say whether a difference is more than noise, with its p value."""
    return f"{'more than' if p < LEVEL else 'within'} noise ({p_value(p)})"
