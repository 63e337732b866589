"""What preflight checks found: lines for a terminal, and all problems in one error."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from hep2gan.errors import Hep2ganError, WrongSettingsError, bullet_list

State = Literal["ok", "note", "problem"]


class Note(NamedTuple):
    """Something worth knowing that stops nothing."""

    text: str


Finding = str | Note | Hep2ganError
"""What a check yields: a sentence on what is right, a note, or a problem."""


class Result(NamedTuple):
    """One line of a report."""

    check: str
    state: State
    text: str


class PreflightReport:
    """Results of checks in their order; problems are kept to be raised together."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.problems: list[Hep2ganError] = []

    def add(self, check: str, findings: Iterable[Finding]) -> None:
        """Record the findings of a check; a Hep2ganError that it raises is one too."""
        try:
            for finding in findings:
                self._record(check, finding)
        except WrongSettingsError as several:
            for error in several.problems:
                self._record(check, error)
        except Hep2ganError as error:
            self._record(check, error)

    def _record(self, check: str, finding: Finding) -> None:
        if isinstance(finding, Hep2ganError):
            self.problems.append(finding)
            self.results.append(Result(check, "problem", str(finding)))
        elif isinstance(finding, Note):
            self.results.append(Result(check, "note", finding.text))
        else:
            self.results.append(Result(check, "ok", finding))

    @property
    def notes(self) -> list[str]:
        """What is worth knowing and stops nothing."""
        return [text for _, state, text in self.results if state == "note"]

    def lines(self) -> list[str]:
        """The results for a terminal; problems last, where they are seen."""
        order = get_args(State)
        results = sorted(self.results, key=lambda result: order.index(result.state))
        return [f"{state:<8} {check:<10} {text}" for check, state, text in results]

    def require(self, what: str) -> None:
        """Raise Hep2ganError with every problem of `what` in one list, each with its fix."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if count := len(self.problems):
            problems = bullet_list([str(problem) for problem in self.problems], limit=count)
            raise Hep2ganError(
                f"{count} things stand in the way of {what}\n{problems}\n",
                "nothing was started",
                "mend them and give the same command again; doctor=true looks without starting",
            )
