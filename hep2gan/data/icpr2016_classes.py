"""Class names of the ICPR 2016 set, as people write them."""

from hep2gan.data.patterns import ICPR2016
from hep2gan.errors import Hep2ganError

CLASSES = tuple(pattern.name for pattern in ICPR2016)
COUNTS = tuple(pattern.count for pattern in ICPR2016)

# Names met in copies of the set and in the contest's papers, beside those in patterns.py.
_ALSO = {"golgiapparatus": "Golgi", "numembrane": "NuMem", "nuclearmembrane": "NuMem"}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


_LABELS = {
    _plain(name): label
    for label, pattern in enumerate(ICPR2016)
    for name in (pattern.name, pattern.abbreviation, *pattern.aliases)
} | {name: CLASSES.index(pattern) for name, pattern in _ALSO.items()}


def label_of(name: str) -> int | None:
    """Label 0..5 of a class name, whatever its case, blanks and dashes; None when unknown."""
    return _LABELS.get(_plain(name))


def unknown(name: str) -> str:
    """Say that a class name is unknown, and which there are."""
    return f"unknown class '{name}' (the classes are {', '.join(CLASSES)})"


def refuse_other_classes(names: list[str], where: str) -> None:
    """Raise Hep2ganError when one of the names is no class of the set."""
    wrong = [unknown(name) for name in names if label_of(name) is None]
    if wrong:
        raise Hep2ganError(f"{where}: {'; '.join(wrong)}", "", "rename it, or move it away")
