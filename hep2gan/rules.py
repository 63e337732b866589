"""What one value of a configuration may be: a rule in words, and whether a value keeps it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """A rule: words, which complete "it must be …", a value that keeps it, whether one does."""

    words: str
    example: Any
    holds: Callable[[Any], bool]

    def or_null(self) -> "Rule":
        """The same, or null."""
        return Rule(f"{self.words}, or null", self.example, lambda v: v is None or self.holds(v))


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(least: int, example: int, most: int = 2**63 - 1) -> Rule:
    """A whole number in least..most."""
    words = {0: "a whole number, 0 or more", 1: "a positive whole number"}.get(least)
    words = words or f"a whole number, {least} or more"
    if most < 2**63 - 1:
        words = f"a whole number from {least} to {most}"
    return Rule(words, example, lambda v: is_whole(v) and least <= v <= most)


def number(example: float, least: float = 0.0, most: float = math.inf) -> Rule:
    """A finite number in least..most."""
    bounds = f" from {least:g} to {most:g}" if most < math.inf else f", {least:g} or more"
    words = f"a finite number{bounds if least > -math.inf else ''}"
    return Rule(words, example, lambda v: is_number(v) and least <= v <= most)


def share(example: float, below: float = 1.0) -> Rule:
    """A number of 0 or more that is below `below`."""
    words = f"a number, 0 or more and below {below:g}"
    return Rule(words, example, lambda v: is_number(v) and 0 <= v < below)


def one_of(*options: Any) -> Rule:
    """One of some values; the first is the example."""
    told = ", ".join("null" if option is None else str(option) for option in options)

    def holds(value: Any) -> bool:
        return any(type(value) is type(option) and value == option for option in options)

    return Rule(f"one of {told}", options[0], holds)


def numbers(count: int, example: list[float]) -> Rule:
    """So many finite numbers in a list."""

    def holds(value: Any) -> bool:
        return (
            isinstance(value, list | tuple) and len(value) == count and all(map(is_number, value))
        )

    return Rule(f"{count} finite numbers in a list", example, holds)


def text(example: str) -> Rule:
    """A text that is not empty."""
    return Rule(
        "a text that is not empty", example, lambda v: isinstance(v, str) and bool(v.strip())
    )


def name(example: str) -> Rule:
    """A text that is not empty, or a number, as which YAML reads a name such as 5."""
    rule = text(example)
    return rule._replace(holds=lambda v: rule.holds(v) or is_number(v))


def texts(example: str) -> Rule:
    """A list of texts."""

    def holds(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)

    return Rule("a list of texts", example, holds)


TRUTH = Rule("true or false", "false", lambda v: isinstance(v, bool))
