"""The six staining patterns of the ICPR 2016 Task-1 set (the I3A training set)."""

from dataclasses import dataclass


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


def abbreviation(name: str) -> str:
    """Three letters for figures: the paper's where the class is one of its six."""
    known = {p.name: p.abbreviation for p in ICPR2016}
    return known.get(name, name[:3].capitalize() if len(name) <= 12 else name[:8])
