"""Where the cells of a synthetic field lie: in groups, some touching, some cut by the border."""

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from hep2gan.data.phantom.mitosis import sample_round_outline
from hep2gan.data.phantom.nucleus import Outline, sample_outline

TOUCHING = 0.2
"""Fraction of the cells that touch a neighbour, in pairs."""
AT_BORDER = 0.1
"""Fraction of the cells that the border of the field cuts."""
MITOTIC = 0.03
"""Fraction of the cells that divide."""
AREA_PER_CELL = 3600
"""Pixels of a field that a cell needs for itself: closer, cells no longer find a place."""

_GAP = 2.5  # px between cells that do not touch, so that their masks do not either
_CLEAR = 3.0  # px between the border and cells that it does not cut
_TRIES = 40  # places tried before a cell is left out


class PlacedCell(NamedTuple):
    """A cell of a field.

    Attributes:
        outline: Its outline; that of the whole rounded cell for one that divides.
        centre: (y, x) of its centre in px, 0 being the centre of the first pixel.
        mitotic: Whether it divides.
    """

    outline: Outline
    centre: tuple[float, float]
    mitotic: bool = False

    def meets(self, other: "PlacedCell", gap: float = _GAP) -> bool:
        """Tell whether another cell comes closer than a distance.

        Args:
            other: The other cell.
            gap: The distance in px; negative for how far they may reach into each other.

        Returns:
            Whether it does.
        """
        offset = (other.centre[0] - self.centre[0], other.centre[1] - self.centre[1])
        longest = max(self.outline.reach) + max(other.outline.reach)
        if np.hypot(*offset) > 1.5 * longest + gap:
            return False
        return self.outline.overlaps(other.outline, offset, gap)


def place_cells(
    number: int, shape: tuple[int, int], neighbours: float, rng: np.random.Generator
) -> list[PlacedCell]:
    """Sample the places of the cells of a field.

    Args:
        number: Number of cells; those that find no room are left out.
        shape: (h, w) of the field in px.
        neighbours: Mean number of cells around a cell.
        rng: Source of the random numbers.

    Returns:
        The cells. Those of a pair press on each other by up to 3 px; all others keep apart.
    """
    cut, mitotic = _round(AT_BORDER * number, rng), _round(MITOTIC * number, rng)
    pairs = min(_round(TOUCHING / 2 * number, rng), (number - cut - mitotic) // 2)
    field = _Field(shape, rng)
    for _ in range(cut):
        field.add_cut()
    for _ in range(pairs):
        field.add_pair()
    # Each cell beside another gives both of them a neighbour; so does each pair.
    single = max(number - cut - 2 * pairs, 0)
    beside = min(max(neighbours * number / 2 - pairs, 0) / max(single, 1), 0.95)
    for index in range(single):
        field.add_single(beside, mitotic=index < mitotic)
    return field.cells


def _round(number: float, rng: np.random.Generator) -> int:
    """Round up or down by chance, so that the mean is right in small fields too."""
    return int(number + rng.random())


class _Field:
    """A field that fills with cells. Candidates for a place are endless: the first that fits stays.

    Attributes:
        cells: The cells so far.
    """

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.cells: list[PlacedCell] = []
        self._shape, self._rng = shape, rng

    def add_cut(self) -> None:
        """Add a cell that the border cuts, if there is room."""
        self._add(self._at_border(), self.cells, cut=True)

    def add_single(self, beside: float, *, mitotic: bool) -> None:
        """Add a cell within the field, if there is room, by a chance of `beside` near another."""
        self._add(self._singles(beside, mitotic=mitotic), self.cells)

    def add_pair(self) -> None:
        """Add two cells that share a part of their outlines, or none."""
        others = list(self.cells)
        first = self._add(self._singles(0.0), others)
        if first is not None and self._add(self._pressed_on(first), others) is None:
            self.cells.remove(first)

    def _add(
        self, candidates: Iterator[PlacedCell], others: list[PlacedCell], *, cut: bool = False
    ) -> PlacedCell | None:
        for cell in islice(candidates, _TRIES):
            if (cut or self._is_within(cell)) and not any(map(cell.meets, others)):
                self.cells.append(cell)
                return cell
        return None

    def _singles(self, beside: float, *, mitotic: bool = False) -> Iterator[PlacedCell]:
        sample = sample_round_outline if mitotic else sample_outline
        close = bool(self.cells) and self._rng.random() < beside
        for tried in count():
            outline = sample(self._rng)
            # Where groups have no room left, the cell goes anywhere.
            near = close and tried < _TRIES / 2
            centre = self._beside(outline) if near else self._anywhere(outline)
            yield PlacedCell(outline, centre, mitotic)

    def _at_border(self) -> Iterator[PlacedCell]:
        rng, (height, width) = self._rng, self._shape
        while True:
            outline = sample_outline(rng)
            across = float(rng.uniform(-0.3, 0.8))  # radii; a tenth to two thirds are cut off
            if rng.random() < width / (width + height):
                y, x = across * outline.reach[0], self._within(outline, 1)
                centre = (y if rng.random() < 0.5 else height - 1 - y, x)
            else:
                y, x = self._within(outline, 0), across * outline.reach[1]
                centre = (y, x if rng.random() < 0.5 else width - 1 - x)
            yield PlacedCell(outline, centre)

    def _pressed_on(self, first: PlacedCell) -> Iterator[PlacedCell]:
        rng = self._rng
        while True:
            outline, angle = sample_outline(rng), rng.uniform(0, 2 * np.pi)
            press = float(rng.uniform(1, 3))
            near, far = 0.0, (first.outline.diameter + outline.diameter)
            for _ in range(12):
                middle = (near + far) / 2
                cell = PlacedCell(outline, _moved(first.centre, angle, middle))
                if first.meets(cell, -press):
                    near = middle
                else:
                    far = middle
            yield PlacedCell(outline, _moved(first.centre, angle, near))

    def _beside(self, outline: Outline) -> tuple[float, float]:
        rng = self._rng
        other = self.cells[int(rng.integers(len(self.cells)))]
        distance = (other.outline.diameter + outline.diameter) / 2 + abs(rng.normal(0, 7)) + 3
        return _moved(other.centre, rng.uniform(0, 2 * np.pi), float(distance))

    def _anywhere(self, outline: Outline) -> tuple[float, float]:
        return self._within(outline, 0), self._within(outline, 1)

    def _within(self, outline: Outline, axis: int) -> float:
        edge = outline.reach[axis] + _CLEAR
        return float(self._rng.uniform(edge, self._shape[axis] - 1 - edge))

    def _is_within(self, cell: PlacedCell) -> bool:
        return all(
            reach + _CLEAR <= at <= side - 1 - reach - _CLEAR
            for at, side, reach in zip(cell.centre, self._shape, cell.outline.reach, strict=True)
        )


def _moved(centre: tuple[float, float], angle: float, distance: float) -> tuple[float, float]:
    return (
        centre[0] + distance * float(np.sin(angle)),
        centre[1] + distance * float(np.cos(angle)),
    )
