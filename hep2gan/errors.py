"""The one exception users are meant to read: fact, rule, fix."""

import errno
from collections.abc import Sequence
from typing import Any


class Hep2ganError(Exception):
    """Wrong input, told as a fact, the rule it breaks and what to do about it.

    Commands print it without a traceback and exit with status 2.

    >>> str(Hep2ganError("image size is 100", "must be divisible by 16", "choose 96 or 112"))
    'image size is 100: must be divisible by 16. Fix: choose 96 or 112.'
    """

    def __init__(self, fact: str, rule: str = "", fix: str = "") -> None:
        self.fact, self.rule, self.fix = fact, rule, fix
        super().__init__(_sentence(fact, rule, fix))

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders by pickling, which knows the message alone.
        return type(self), (self.fact, self.rule, self.fix)


def _sentence(fact: str, rule: str, fix: str) -> str:
    """The parts as one text; behind a fact that is a list the rest begins a line of its own."""
    if fact.endswith("\n"):
        parts = [rule[:1].upper() + rule[1:], f"Fix: {fix}" if fix else ""]
        return (fact + " ".join(f"{part}." for part in parts if part)).rstrip("\n")
    text = f"{fact}: {rule}" if rule else fact
    return f"{text}. Fix: {fix}." if fix else f"{text}."


class WrongSettingsError(Hep2ganError):
    """Several errors that were found in one go."""

    def __init__(self, problems: "Sequence[Hep2ganError]") -> None:
        self.problems = list(problems)
        told = bullet_list([str(problem) for problem in problems], limit=len(problems))
        super().__init__(f"{len(problems)} settings are wrong\n{told}\n", "", "mend each of them")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


def raise_all(problems: "Sequence[Hep2ganError]") -> None:
    """Raise the only problem, or one error that tells them all; nothing where there is none."""
    if problems:
        raise problems[0] if len(problems) == 1 else WrongSettingsError(problems)


def require_choice(name: str, value: object, options: Sequence[str]) -> None:
    """Raise Hep2ganError unless `value` of the setting `name` is one of `options`."""
    if value not in options:
        raise Hep2ganError(f"{name} is {value!r}", f"choose from {', '.join(options)}")


def pluralize(number: int, one: str, many: str = "") -> str:
    """A number of things in words; `many` where the plural is not `one` with an s.

    >>> counted(1, "batch", "batches"), counted(1200, "job")
    ('1 batch', '1,200 jobs')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def bullet_list(problems: Sequence[str], limit: int = 20) -> str:
    """Join problems one per line, at most `limit` of them, with a count of the rest."""
    lines = [f"  - {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  … and {len(problems) - limit} more")
    return "\n".join(lines)


_PLACE = "choose another place"
_FIXES = {
    errno.ENOSPC: "free space on the disk, and give the same command again",
    errno.EDQUOT: "free some of your quota, and give the same command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: _PLACE,
    errno.EACCES: f"set its permissions, or {_PLACE}",
    errno.EPERM: f"set its permissions, or {_PLACE}",
    errno.EIO: f"have the disk looked at, and {_PLACE}",
    errno.ESTALE: "see that the network disk is there, and give the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def from_os_error(error: BaseException) -> Hep2ganError | None:
    """What a disk's refusal behind `error` means, told as ours are; None for any other error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FIXES:
            name = cause.filename or "a file"
            return Hep2ganError(f"{name}: {cause.strerror}", "", _FIXES[cause.errno])
        cause = cause.__cause__ or cause.__context__
    return None
