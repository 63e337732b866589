"""The six staining patterns of the ICPR 2016 Task-1 set (the I3A training set)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """One staining pattern; in the real set its ids run contiguously.

    Attributes:
        name: Name of the class in the set's table.
        abbreviation: Three letters, as in the figures of the paper.
        first_id: Id of its first cell in the real set.
        last_id: Id of its last cell in the real set.
        aliases: Other names in copies of the set and in papers about the contest.
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
    """Parse the name of a class, ignoring case, spaces and punctuation.

    Args:
        name: Name, abbreviation or alias of the class.

    Returns:
        The label 0 to 5, or None if the name is unknown.
    """
    return _LABELS.get(_normalise(name))


def unknown_class_message(name: str) -> str:
    """Format a message that a class name is unknown, with the known names.

    Args:
        name: The unknown name.

    Returns:
        The message.
    """
    return f"unknown class '{name}' (the classes are {', '.join(CLASSES)})"


def abbreviation(name: str) -> str:
    """Shorten the name of a class for figures.

    Args:
        name: Name of the class.

    Returns:
        The three letters of the paper for its six classes; otherwise the beginning of the name.
    """
    short = name[:3].capitalize() if len(name) <= 12 else name[:8]
    return next((p.abbreviation for p in ICPR2016 if p.name == name), short)
