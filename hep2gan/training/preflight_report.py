"""What preflight checks found: lines for a terminal, and all problems in one error."""

from collections.abc import Iterable

from hep2gan.errors import Hep2ganError, SeveralProblemsError, raise_all

STATES = ("ok", "note", "skipped", "problem")


class Note(str):
    """Something worth knowing that stops nothing."""


class Skipped(str):
    """Why a check could not be made."""


Finding = str | Hep2ganError
"""What a check yields: a sentence on what is right, a note, or a problem."""


class PreflightReport:
    """Findings of checks in their order; problems are kept to be raised together."""

    def __init__(self) -> None:
        self._findings: list[tuple[str, Finding]] = []

    def add(self, check: str, findings: Iterable[Finding]) -> None:
        """Record the findings of a check; a Hep2ganError that it raises is one too.

        Args:
            check: Name of the check.
            findings: What it yields: sentences, notes and errors.
        """
        try:
            for finding in findings:
                self._findings.append((check, finding))
        except Hep2ganError as error:
            several = error.problems if isinstance(error, SeveralProblemsError) else [error]
            known = {str(problem) for problem in self.problems}  # By an earlier check.
            self._findings += [(check, each) for each in several if str(each) not in known]

    @property
    def results(self) -> list[tuple[str, str, str]]:
        """Check, state (one of STATES) and text of each finding."""
        return [(check, _state(finding), str(finding)) for check, finding in self._findings]

    @property
    def notes(self) -> list[str]:
        """What is worth knowing and stops nothing."""
        return [finding for _, finding in self._findings if isinstance(finding, Note)]

    @property
    def problems(self) -> list[Hep2ganError]:
        """What prevents the start."""
        return [finding for _, finding in self._findings if isinstance(finding, Hep2ganError)]

    def lines(self) -> list[str]:
        """The results for a terminal; problems last, where they are seen."""
        return [
            f"{state:<8} {check:<10} {text}"
            for check, state, text in sorted(self.results, key=lambda item: STATES.index(item[1]))
        ]

    def require(self, what: str) -> None:
        """Raise every problem in one list, each with its fix; return if there is none.

        Args:
            what: The run, for the heading of the list.

        Raises:
            Hep2ganError: There are problems.
        """
        raise_all(
            self.problems,
            f"problems prevent the start of {what}",
            "nothing was started",
            "correct them and run the same command again; doctor=true checks without starting",
        )


def _state(finding: Finding) -> str:
    if isinstance(finding, Hep2ganError):
        return "problem"
    if isinstance(finding, Skipped):
        return "skipped"
    return "note" if isinstance(finding, Note) else "ok"
