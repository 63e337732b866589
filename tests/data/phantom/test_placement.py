import numpy as np
import pytest

from hep2gan.data.phantom.placement import AREA_PER_CELL, PlacedCell, place_cells

SHAPE = (700, 900)


def fields(number, neighbours=1.1, shape=SHAPE, seeds=8):
    rngs = map(np.random.default_rng, range(seeds))
    return [place_cells(number, shape, neighbours, rng) for rng in rngs]


def is_cut(cell, shape=SHAPE):
    return any(
        at - reach < 0 or at + reach > side - 1
        for at, reach, side in zip(cell.centre, cell.outline.reach, shape, strict=True)
    )


def pairs_within(cells, gap):
    return [
        (i, j)
        for i, one in enumerate(cells)
        for j, other in enumerate(cells[:i])
        if one.meets(other, gap)
    ]


def test_fields_have_the_cells_asked_for():
    assert {len(cells) for cells in fields(50)} == {50}


def test_a_fifth_touch_in_pairs_and_all_others_keep_apart():
    for cells in fields(50):
        pressed, close = pairs_within(cells, 0), pairs_within(cells, 2)
        assert pressed == close
        assert len(pressed) == 5
        assert len({cell for pair in pressed for cell in pair}) == 10
        # Both reach into each other by 1 to 3 px.
        assert pairs_within(cells, -1) == pressed
        assert pairs_within(cells, -3.2) == []


def test_a_tenth_is_cut_by_the_border():
    for cells in fields(50):
        assert sum(map(is_cut, cells)) == 5
        assert all(-0.3 * 40 < c.centre[i] < SHAPE[i] + 0.3 * 40 for c in cells for i in (0, 1))


def test_shares_are_right_on_average_in_small_fields():
    small = fields(6, shape=(260, 300), seeds=200)
    cells = sum(map(len, small))
    assert cells > 0.98 * 6 * len(small)
    cut = sum(is_cut(cell, (260, 300)) for field in small for cell in field)
    assert cut / cells == pytest.approx(0.1, abs=0.025)
    assert sum(c.mitotic for f in small for c in f) / cells == pytest.approx(0.03, abs=0.015)
    assert sum(2 * len(pairs_within(f, 0)) for f in small) / cells == pytest.approx(0.2, abs=0.05)


def test_cells_lie_in_groups():
    near = {n: np.mean([len(pairs_within(f, 15)) for f in fields(50, n)]) for n in (0, 1, 2)}
    # Each group adds what its mean number of neighbours says; some are near by chance.
    assert near[0] < near[1] - 10 < near[2] - 20


def test_a_full_field_takes_what_has_room():
    shape = (300, 300)
    room = shape[0] * shape[1] // AREA_PER_CELL
    cells = place_cells(3 * room, shape, 1.1, np.random.default_rng(0))
    assert room / 2 < len(cells) < 3 * room
    # What is cut beside a corner may reach out of both sides, what is not keeps 3 px within.
    assert len(pairs_within(cells, 0)) <= 0.1 * 3 * room


def test_distance_is_measured_between_outlines():
    class Circle:
        reach = (10.0, 10.0)

        def overlaps(self, other, offset, gap):
            return np.hypot(*offset) < 20 + gap

    one, other = PlacedCell(Circle(), (50.0, 50.0)), PlacedCell(Circle(), (50.0, 72.0))
    assert one.meets(other, 2.5)
    assert not one.meets(other, 1.5)
    assert not one.meets(PlacedCell(Circle(), (50.0, 150.0)))
