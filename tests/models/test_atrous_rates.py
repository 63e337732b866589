"""Which taps of an atrous kernel see anything, counted on real convolutions."""

import pytest
import torch
from torch.nn import functional as F

from hep2gan.models.generator import active_taps, dead_rates, fitting_rates


@pytest.mark.parametrize("side", [2, 4, 8, 12])
@pytest.mark.parametrize("rate", [1, 2, 3, 4, 6, 8, 12, 24])
def test_live_taps_are_those_with_a_gradient(side, rate):
    kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)
    F.conv2d(torch.ones(1, 1, side, side), kernel, padding=rate, dilation=rate).sum().backward()
    assert active_taps(16 * side, 16, rate) == int((kernel.grad != 0).sum())


def test_rates_of_the_library_are_dead_at_128_px():
    assert dead_rates(128, 16, (12, 24, 36)) == [12, 24, 36]
    assert dead_rates(128, 16, (6, 12, 18)) == [12, 18]
    for size, stride, rates in ((128, 16, (2, 4, 6)), (128, 8, (3, 6, 9)), (64, 16, (1, 2, 3))):
        assert dead_rates(size, stride, rates) == []


@pytest.mark.parametrize("size", range(64, 513, 16))
@pytest.mark.parametrize("stride", [8, 16])
def test_suggested_rates_are_alive(size, stride):
    assert dead_rates(size, stride, fitting_rates(size, stride)) == []


def test_suggested_rates_are_the_defaults():
    assert fitting_rates(128, 16) == (2, 4, 6)
    assert fitting_rates(64, 16) == (1, 2, 3)
