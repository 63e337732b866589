"""What was looked at before a run, and what was found."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from hep2gan.errors import Hep2ganError, WrongSettingsError, listed

State = Literal["ok", "note", "problem"]


class Note(NamedTuple):
    """Something worth knowing that stops nothing."""

    text: str


class Result(NamedTuple):
    """One line of a list: what was looked at, how it is, what was found."""

    check: str
    state: State
    text: str


Finding = str | Note | Hep2ganError


class Checklist:
    """Results in the order in which they were found; problems are kept to be told together."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.problems: list[Hep2ganError] = []

    def take(self, check: str, findings: Iterable[Finding]) -> bool:
        """Go through the findings of one check; whether none of them is a problem.

        A finding is a sentence, a Note, or an error; a Hep2ganError that is raised is one too.
        """
        before = len(self.problems)
        try:
            for finding in findings:
                self._add(check, finding)
        except WrongSettingsError as several:
            for error in several.problems:
                self._add(check, error)
        except Hep2ganError as error:
            self._add(check, error)
        return len(self.problems) == before

    def _add(self, check: str, finding: Finding) -> None:
        if isinstance(finding, Hep2ganError):
            self.problems.append(finding)
            self.results.append(Result(check, "problem", str(finding)))
        elif isinstance(finding, Note):
            self.results.append(Result(check, "note", finding.text))
        else:
            self.results.append(Result(check, "ok", finding))

    def lines(self) -> list[str]:
        """The results for a terminal; problems last, where they are seen."""
        order = get_args(State)
        results = sorted(self.results, key=lambda result: order.index(result.state))
        return [f"{state:<8} {check:<10} {text}" for check, state, text in results]

    def require(self, what: str) -> None:
        """Raise Hep2ganError with every problem of `what` in one list, each with its fix."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            told = listed([str(problem) for problem in self.problems], limit=len(self.problems))
            raise Hep2ganError(
                f"{len(self.problems)} things stand in the way of {what}\n{told}\n",
                "nothing was started",
                "mend them and give the same command again; doctor=true looks without starting",
            )
