from fractions import Fraction

import torch

from hep2gan.metrics.segmentation import UNIT_BITS, ratio, to_fixed_point


def test_to_fixed_point_rounds_to_the_nearest():
    part, whole = torch.tensor([2, 1, 0, 5, 0]), torch.tensor([3, 3, 7, 5, 0])
    expected = [round(Fraction(p, w) * 2**UNIT_BITS) for p, w in [(2, 3), (1, 3), (0, 7), (5, 5)]]
    assert to_fixed_point(part, whole).tolist() == [*expected, 2**UNIT_BITS]


def test_to_fixed_point_at_its_limit():
    whole = torch.tensor([2**27 - 1])
    assert to_fixed_point(whole, whole).item() == 2**UNIT_BITS


def test_ratio():
    assert ratio(torch.tensor(1), torch.tensor(3)) == 1 / 3
    assert ratio(torch.tensor(0), torch.tensor(0)) == 1.0
