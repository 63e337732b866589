"""The six staining patterns of the ICPR 2016 Task-1 set (the I3A training set)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """One staining pattern; ids run contiguously from `first_id` to `last_id` in the real set.

    aliases: names met in copies of the set and in the contest's papers.
    """

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
    Pattern("NuMem", "Num", 10665, 12872, ("Nuclear membrane", "NuMembrane")),
    Pattern("Golgi", "Gol", 12873, 13596, ("Golgi apparatus",)),
)
"""Class order 0..5, ids and counts of the set as handed out (13,596 cells)."""


CLASSES = tuple(pattern.name for pattern in ICPR2016)
COUNTS = tuple(pattern.count for pattern in ICPR2016)


def _normalise(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


_LABELS = {
    _normalise(name): label
    for label, pattern in enumerate(ICPR2016)
    for name in (pattern.name, pattern.abbreviation, *pattern.aliases)
}


def parse_label(name: str) -> int | None:
    """Return the label 0..5 of a class name, ignoring case, blanks and dashes; None if unknown."""
    return _LABELS.get(_normalise(name))


def unknown_class_message(name: str) -> str:
    """Say that a class name is unknown, and which there are."""
    return f"unknown class '{name}' (the classes are {', '.join(CLASSES)})"


def abbreviation(name: str) -> str:
    """Shorten a class name for figures: the paper's three letters where it is one of its six."""
    abbreviations = {p.name: p.abbreviation for p in ICPR2016}
    return abbreviations.get(name, name[:3].capitalize() if len(name) <= 12 else name[:8])
