"""The six staining patterns of the ICPR 2016 Task-1 set (the I3A training set)."""

from dataclasses import dataclass

from hep2gan.errors import Hep2ganError


@dataclass(frozen=True)
class Pattern:
    """One staining pattern; ids run contiguously from `first_id` to `last_id` in the real set."""

    name: str
    abbreviation: str
    first_id: int
    last_id: int
    aliases: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Published number of cells."""
        return self.last_id - self.first_id + 1


ICPR2016: tuple[Pattern, ...] = (
    Pattern("Homogeneous", "Hom", 1, 2494),
    Pattern("Speckled", "Spe", 2495, 5325),
    Pattern("Nucleolar", "Nuc", 5326, 7923),
    Pattern("Centromere", "Cen", 7924, 10664),
    Pattern("NuMem", "Num", 10665, 12872, ("Nuclear membrane", "NuclearMembrane")),
    Pattern("Golgi", "Gol", 12873, 13596),
)
"""Class order 0..5, ids and counts of the set as handed out (13,596 cells)."""


CLASSES = tuple(pattern.name for pattern in ICPR2016)
COUNTS = tuple(pattern.count for pattern in ICPR2016)

# Names met in copies of the set and in the contest's papers, beside those above.
_OTHER_NAMES = {"golgiapparatus": "Golgi", "numembrane": "NuMem", "nuclearmembrane": "NuMem"}


def _normalise(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


_LABELS = {
    _normalise(name): label
    for label, pattern in enumerate(ICPR2016)
    for name in (pattern.name, pattern.abbreviation, *pattern.aliases)
} | {name: CLASSES.index(pattern) for name, pattern in _OTHER_NAMES.items()}


def parse_label(name: str) -> int | None:
    """Return the label 0..5 of a class name, ignoring case, blanks and dashes; None if unknown."""
    return _LABELS.get(_normalise(name))


def unknown_class_message(name: str) -> str:
    """Say that a class name is unknown, and which there are."""
    return f"unknown class '{name}' (the classes are {', '.join(CLASSES)})"


def check_class_names(names: list[str], where: str) -> None:
    """Raise Hep2ganError when one of the names is no class of the set."""
    wrong = [unknown_class_message(name) for name in names if parse_label(name) is None]
    if wrong:
        raise Hep2ganError(f"{where}: {'; '.join(wrong)}", "", "rename it, or move it away")


def abbreviation(name: str) -> str:
    """Shorten a class name for figures: the paper's three letters where it is one of its six."""
    abbreviations = {p.name: p.abbreviation for p in ICPR2016}
    return abbreviations.get(name, name[:3].capitalize() if len(name) <= 12 else name[:8])
