"""The one exception users are meant to read: fact, rule, fix."""

from collections.abc import Sequence


class Hep2ganError(Exception):
    """Wrong input, told as a fact, the rule it breaks and what to do about it.

    Commands print it without a traceback and exit with status 2.

    >>> str(Hep2ganError("image size is 100", "must be divisible by 16", "choose 96 or 112"))
    'image size is 100: must be divisible by 16. Fix: choose 96 or 112.'
    """

    def __init__(self, fact: str, rule: str = "", fix: str = "") -> None:
        self.fact, self.rule, self.fix = fact, rule, fix
        text = f"{fact}: {rule}" if rule else fact
        super().__init__(f"{text}. Fix: {fix}." if fix else f"{text}.")

    def __reduce__(self) -> tuple[type["Hep2ganError"], tuple[str, str, str]]:
        # Errors cross process borders by pickling, which knows the message alone.
        return type(self), (self.fact, self.rule, self.fix)


def listed(problems: Sequence[str], limit: int = 20) -> str:
    """Join problems one per line, at most `limit` of them, with a count of the rest."""
    lines = [f"  - {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  … and {len(problems) - limit} more")
    return "\n".join(lines)
