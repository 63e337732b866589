"""The network of Gao et al.: its size, its maps, its activation."""

import pytest
import torch
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.models.gao import GaoNet, ScaledTanh


def test_it_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in GaoNet(6).parameters()) == 50_748


def test_maps_have_the_published_sides():
    network, sides = GaoNet(6), []
    for layer in network.body:
        layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    logits, features = network(torch.rand(2, 1, 78, 78))
    assert list(dict.fromkeys(sides)) == [72, 36, 33, 11, 9, 3, 288, 150]
    assert (logits.shape, features.shape) == ((2, 6), (2, 150))


def test_the_activation_by_hand():
    given = torch.tensor([-50.0, 0.0, 1.0, 50.0])
    expected = [-1.7159, 0.0, 1.7159 * 0.58278295, 1.7159]
    torch.testing.assert_close(ScaledTanh()(given), torch.tensor(expected))


@pytest.mark.parametrize("side", [64, 128])
def test_images_of_other_sizes_are_resized(side):
    network, image = GaoNet(6).eval(), torch.rand(2, 1, side, side)
    resized = F.interpolate(image, (78, 78), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(image)[0], network(resized)[0])


def test_the_logits_are_linear_in_the_features():
    network = GaoNet(4)
    logits, features = network(torch.rand(2, 1, 64, 64))
    torch.testing.assert_close(logits, network.output(features))
    assert features.abs().max() <= 1.7159


def test_guided_it_takes_a_mask_and_unguided_none():
    image, mask = torch.rand(2, 2, 1, 64, 64)
    guided = GaoNet(6, guided=True)
    assert not torch.equal(guided(image, mask)[0], guided(image, 1 - mask)[0])
    with pytest.raises(Hep2ganError, match="no mask"):
        guided(image)
    with pytest.raises(Hep2ganError, match="unguided"):
        GaoNet(6)(image, mask)
