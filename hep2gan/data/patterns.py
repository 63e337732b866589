"""Staining patterns: the six of the ICPR 2016 Task-1 set, and what other sets call theirs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hep2gan.data.readers.files import plain_name


@dataclass(frozen=True)
class Pattern:
    """One staining pattern; in the real set its ids run contiguously.

    Attributes:
        name: Name of the class in the set's table.
        abbreviation: Three letters, as in the figures of the paper.
        first_id: Id of its first cell in the real set.
        last_id: Id of its last cell in the real set.
    """

    name: str
    abbreviation: str
    first_id: int
    last_id: int

    @property
    def count(self) -> int:
        """Published number of cells."""
        return self.last_id - self.first_id + 1


ICPR2016: tuple[Pattern, ...] = (
    Pattern("Homogeneous", "Hom", 1, 2494),
    Pattern("Speckled", "Spe", 2495, 5325),
    Pattern("Nucleolar", "Nuc", 5326, 7923),
    Pattern("Centromere", "Cen", 7924, 10664),
    Pattern("NuMem", "Num", 10665, 12872),
    Pattern("Golgi", "Gol", 12873, 13596),
)
"""Class order 0..5, ids and counts of the set as handed out (13,596 cells)."""


CLASSES = tuple(pattern.name for pattern in ICPR2016)
COUNTS = tuple(pattern.count for pattern in ICPR2016)


_SPELLINGS = {
    "homogeneous": ("hom", "ac-1"),
    "speckled": ("spe", "ac-4", "ac-5"),
    "fine speckled": (),
    "coarse speckled": ("large speckled",),
    "dense fine speckled": ("dfs", "ac-2"),
    "nucleolar": ("nuc", "ac-8", "ac-9", "ac-10"),
    "centromere": ("cen", "centromeric", "ac-3"),
    "numem": ("num", "nuclear membrane", "numembrane", "nuclear envelope", "ac-11", "ac-12"),
    "golgi": ("gol", "golgi apparatus", "ac-22"),
    "cytoplasmic": ("cytoplasmatic", "cytoplasm"),
    "mitotic spindle": ("mitsp", "mitotic spindles"),
    "negative": ("neg", "ac-0"),
}
"""What contests, papers and the consensus on patterns (ICAP, codes AC-n) call one class.

Fine and coarse speckled, which the set of 2012 tells apart, stay classes of their own by name; the
codes of both are speckled, as in the set of 2016."""
KNOWN_CLASSES = frozenset(_SPELLINGS)
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
_CODE = re.compile(r"ac0+(?=\d)")
_CLASS_OF = {
    _SEPARATORS.sub("", name): key for key, names in _SPELLINGS.items() for name in (key, *names)
}


def canonical_class(name: str) -> str:
    """Return the key by which classes of two sets are compared.

    Case and the Unicode form of letters do not count, nor which of spaces, dashes and underscores
    stand between words; known spellings and ICAP codes give one key.

    Args:
        name: Name of a class, as a folder, a table or a store has it.

    Returns:
        The key, such as 'numem'; of an unknown name the name itself in lower case, one space
        between words.

    Examples:
        >>> canonical_class("Nuclear_membrane"), canonical_class("AC-1"), canonical_class("Rods")
        ('numem', 'homogeneous', 'rods')
    """
    folded = fold_class(name)
    return _CLASS_OF.get(_CODE.sub("ac", folded.replace(" ", "")), folded)


def same_classes(names: Iterable[str], others: Sequence[str]) -> dict[str, str]:
    """Find the partner of each class in another set of classes: the same name, or the same pattern.

    Args:
        names: Names of classes.
        others: Names of the other classes.

    Returns:
        For each name with a partner, that partner: the equal name, else the only one that
        `canonical_class` calls the same.

    Examples:
        >>> same_classes(["AC-1", "Golgi", "Rods"], ["Golgi", "Homogeneous"])
        {'AC-1': 'Homogeneous', 'Golgi': 'Golgi'}
    """
    keys = [canonical_class(name) for name in others]
    found = {}
    for name in names:
        key = canonical_class(name)
        if name in others:
            found[name] = name
        elif keys.count(key) == 1:
            found[name] = others[keys.index(key)]
    return found


def fold_class(name: str) -> str:
    """Return a class's name in a form in which its spellings are equal.

    Args:
        name: Name of a class.

    Returns:
        The name in lower case, one space between words.
    """
    return _SEPARATORS.sub(" ", plain_name(name)).strip() or plain_name(name)


_LABELS = {canonical_class(pattern.name): label for label, pattern in enumerate(ICPR2016)}


def parse_label(name: str) -> int | None:
    """Parse the name of a class of the ICPR 2016 set.

    Args:
        name: Name of the class, in any spelling that `canonical_class` knows.

    Returns:
        The label 0 to 5, or None if the name is unknown.
    """
    return _LABELS.get(canonical_class(name))


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
        The three letters of the paper for its six classes; otherwise the name.
    """
    return next((p.abbreviation for p in ICPR2016 if p.name == name), name)
