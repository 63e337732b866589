"""The one exception that users are meant to read: fact, rule, fix."""

import errno
from collections.abc import Callable, Sequence
from typing import Any


class Hep2ganError(Exception):
    """Wrong input: a fact, the rule it breaks and a fix.

    Commands print it without a traceback and exit with status 2.

    Args:
        fact: What was found; may end in a list with one item per line.
        rule: What should hold instead, or ''.
        fix: What the user can do, in the imperative, or ''.

    >>> str(Hep2ganError("image size is 100", "must be divisible by 16", "choose 96 or 112"))
    'image size is 100: must be divisible by 16. Fix: choose 96 or 112.'
    """

    def __init__(self, fact: str, rule: str = "", fix: str = "") -> None:
        self.fact, self.rule, self.fix = fact, rule, fix
        super().__init__(_sentence(fact, rule, fix))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled with their message alone, between processes.
        return type(self), (self.fact, self.rule, self.fix)


def _sentence(fact: str, rule: str, fix: str) -> str:
    """Join the parts; after a fact that is a list, the rest begins on a new line."""
    if fact.endswith("\n"):
        parts = [rule[:1].upper() + rule[1:], f"Fix: {fix}" if fix else ""]
        return (fact + " ".join(f"{part}." for part in parts if part)).rstrip("\n")
    text = f"{fact}: {rule}" if rule else fact
    return f"{text}. Fix: {fix}." if fix else f"{text}."


class SeveralProblemsError(Hep2ganError):
    """Several errors, all found before anything was started.

    Args:
        problems: The errors.
        what: Heading of their list; completes "<number> …".
        rule: What should hold instead, or ''.
        fix: What the user can do about all of them.
    """

    def __init__(self, problems: "Sequence[Hep2ganError]", what: str, rule: str, fix: str) -> None:
        self.problems, self.what = list(problems), what
        lines = bullet_list([str(problem) for problem in problems], limit=len(problems))
        super().__init__(f"{len(problems)} {what}\n{lines}\n", rule, fix)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.what, self.rule, self.fix)


def raise_all(
    problems: "Sequence[Hep2ganError]",
    what: str = "settings are wrong",
    rule: str = "",
    fix: str = "correct each of them",
) -> None:
    """Raise the only error, or one that lists all errors; return if there is none.

    Args:
        problems: The errors.
        what: Heading of the list; completes "<number> …".
        rule: What should hold instead, or ''.
        fix: What the user can do about a list of errors.

    Raises:
        Hep2ganError: The only error.
        SeveralProblemsError: Several errors.
    """
    if problems:
        raise problems[0] if len(problems) == 1 else SeveralProblemsError(problems, what, rule, fix)


def errors_from(check: Callable[..., object], *args: Any, **kwargs: Any) -> list[Hep2ganError]:
    """Collect the error that a check raises, so that other checks can follow.

    Args:
        check: Raises Hep2ganError where something is wrong.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Returns:
        The error alone; empty if nothing is wrong.
    """
    try:
        check(*args, **kwargs)
    except Hep2ganError as error:
        return [error]
    return []


def pluralize(number: int, one: str, many: str = "") -> str:
    """Format a number with its noun.

    >>> pluralize(1, "batch", "batches"), pluralize(1200, "job")
    ('1 batch', '1,200 jobs')

    Args:
        number: The number.
        one: The noun in the singular.
        many: The noun in the plural; '' for the singular with an s.

    Returns:
        The phrase.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def bullet_list(items: Sequence[str], limit: int = 20) -> str:
    """Format items as a list, one per line.

    Args:
        items: The items.
        limit: Largest number of items to list; the number of the others follows.

    Returns:
        The lines, without a final line break.
    """
    lines = [f"  - {item}" for item in items[:limit]]
    if len(items) > limit:
        lines.append(f"  … and {len(items) - limit} more")
    return "\n".join(lines)


_ELSEWHERE = "choose another place"
_FIXES = {
    errno.ENOSPC: "free space on the disk, and give the same command again",
    errno.EDQUOT: "free some of your quota, and give the same command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: f"set its permissions, or {_ELSEWHERE}",
    errno.EPERM: f"set its permissions, or {_ELSEWHERE}",
    errno.EIO: f"have the disk checked, and {_ELSEWHERE}",
    errno.ESTALE: "check that the network disk is mounted, and give the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def from_os_error(error: BaseException) -> Hep2ganError | None:
    """Explain an error of the file system, such as a full disk.

    Args:
        error: Any exception; the exceptions that caused it are searched too.

    Returns:
        The explanation, or None for any other error.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FIXES:
            name = cause.filename or "a file"
            return Hep2ganError(f"{name}: {cause.strerror}", "", _FIXES[cause.errno])
        cause = cause.__cause__ or cause.__context__
    return None
