"""The margin's ramp."""

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.losses.gaussian_mixture import MarginSchedule


def test_a_single_number_is_constant():
    margin = MarginSchedule.of(0.2, 0)
    assert [margin.at(e) for e in (0, 1, 100)] == [0.2, 0.2, 0.2]
    assert MarginSchedule.of(0, 10).at(5) == 0


def test_a_pair_is_a_straight_line_that_stays_at_its_end():
    margin = MarginSchedule.of([0.1, 0.3], 10)
    expected = {0: 0.1, 1: 0.12, 5: 0.2, 10: 0.3, 11: 0.3}
    assert {e: margin.at(e) for e in expected} == pytest.approx(expected)


def test_what_makes_no_sense_is_refused():
    for margin in (-0.1, [0.1, -0.3], [0.1, 0.2, 0.3]):
        with pytest.raises(Hep2ganError, match=r"one number or \[start, end\], not negative"):
            MarginSchedule.of(margin, 10)
    with pytest.raises(Hep2ganError, match="ramped over 0 epochs: a ramp needs at least 1"):
        MarginSchedule.of([0.1, 0.3], 0)
