"""Softened true masks."""

import math

import pytest
import torch
from scipy import ndimage

from hep2gan.losses.segmentation import MaskSoftening, SofteningSettings
from tests.helpers.schema import refusal_of_setting


def disc(side=32):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (((y - 14) ** 2 + (x - 17) ** 2) < 90).float()[None, None].repeat(2, 1, 1, 1)


def test_off_by_default():
    assert torch.equal(MaskSoftening()(disc()), disc())


def test_level_by_hand():
    soft = MaskSoftening(level=0.1)(torch.tensor([[[[0.0, 1.0]]]]))
    torch.testing.assert_close(soft, torch.tensor([[[[0.1, 0.9]]]]))


@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_blur_is_scipys(sigma):
    soft = MaskSoftening(sigma=sigma)(disc())
    radius = MaskSoftening(sigma=sigma).radius
    expected = ndimage.gaussian_filter(disc()[0, 0].numpy(), sigma, radius=radius, mode="nearest")
    torch.testing.assert_close(soft[1, 0], torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_a_constant_mask_stays_constant_up_to_its_borders():
    soft = MaskSoftening(sigma=2.0, level=0.05)(torch.ones(1, 1, 9, 9))
    torch.testing.assert_close(soft, torch.full((1, 1, 9, 9), 0.95))


def test_float32_under_autocast_float64_in_float64():
    softening = MaskSoftening(sigma=1.0, level=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        soft = softening(disc())
    assert torch.equal(soft, softening(disc()))
    assert softening(disc().double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("sigma", -1.0, "0 or more"),
        ("sigma", math.inf, "finite number"),
        ("level", 0.5, "below 0.5"),
        ("level", -0.1, "0 or more"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    assert rule in refusal_of_setting(SofteningSettings, key, value)
