"""PatchGAN: sizes, receptive field, start values and what is refused."""

import pytest
import torch
from torch import nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.discriminator import PatchGAN
from tests.helpers.schema import refusal_of_argument


def convolutions(discriminator):
    return [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize(("n_layers", "millions"), [(1, 0.14), (2, 0.66), (3, 2.77), (4, 6.96)])
def test_parameter_count(n_layers, millions):
    count = sum(p.numel() for p in PatchGAN(n_layers).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_one_logit_sees_exactly_its_receptive_field(n_layers, field):
    """Measured by the gradient of one inner logit, without norms that see everything."""
    discriminator = PatchGAN(n_layers, ndf=4, norm="none").double()
    image = torch.rand(1, 1, 320, 320, dtype=torch.float64, requires_grad=True)
    logits = discriminator(image, torch.rand(1, 1, 320, 320).double())
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    assert rows.max() - rows.min() + 1 == field
    assert columns.max() - columns.min() + 1 == field


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_shapes(n_layers, side):
    image, mask = torch.rand(2, 1, side, side), torch.rand(2, 1, side, side)
    patches = side // 2**n_layers - 2
    assert PatchGAN(n_layers, ndf=4)(image, mask).shape == (2, 1, patches, patches)


def test_layers_are_those_of_pix2pix():
    kinds = [type(m).__name__ for m in PatchGAN(3).network]
    block = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds == ["Conv2d", "LeakyReLU", *block * 3, "Conv2d"]
    layers = convolutions(PatchGAN(3))
    assert [c.stride[0] for c in layers] == [2, 2, 2, 1, 1]
    assert [c.out_channels for c in layers] == [64, 128, 256, 512, 1]
    assert [c.bias is not None for c in layers] == [True, False, False, False, True]
    assert {(c.kernel_size, c.padding) for c in layers} == {((4, 4), (1, 1))}
    slopes = {m.negative_slope for m in PatchGAN(3).modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}
    assert [c.out_channels for c in convolutions(PatchGAN(5, ndf=2))] == [2, 4, 8, 16, 16, 16, 1]


def test_start_values():
    torch.manual_seed(0)
    discriminator = PatchGAN(3)
    for layer in convolutions(discriminator)[1:-1]:
        assert layer.weight.mean().item() == pytest.approx(0.0, abs=3e-4)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for layer in (convolutions(discriminator)[0], convolutions(discriminator)[-1]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert (layer.bias == 0).all()
    norms = [m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    scales = torch.cat([m.weight for m in norms])
    assert scales.mean().item() == pytest.approx(1.0, abs=0.003)
    assert scales.std().item() == pytest.approx(0.02, rel=0.1)
    assert all((m.bias == 0).all() for m in norms)


def test_other_norms():
    instance = PatchGAN(2, norm="instance")
    assert sum(isinstance(m, nn.InstanceNorm2d) for m in instance.modules()) == 2
    assert all(c.bias is not None for c in convolutions(instance))
    plain = PatchGAN(2, norm="none")
    assert not any("Norm" in type(m).__name__ for m in plain.modules())
    for discriminator in (instance, plain):
        assert discriminator(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)).isfinite().all()


def test_spectral_norm_brings_every_kernel_to_norm_one():
    torch.manual_seed(0)
    discriminator = PatchGAN(2, ndf=8, norm="none", spectral_norm=True).train()
    image = torch.rand(2, 1, 32, 32)
    for _ in range(60):
        discriminator(image, image)
    for layer in convolutions(discriminator):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1.0, abs=0.05)
    assert torch.linalg.matrix_norm(convolutions(PatchGAN(2, 8))[1].weight.flatten(1), 2) < 0.9


def test_image_and_mask_both_matter_in_that_order():
    discriminator = PatchGAN(1, ndf=4, norm="none").eval()
    image, mask = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    expected = discriminator.network(torch.cat([image, mask], dim=1))
    assert torch.equal(discriminator(image, mask), expected)
    assert not torch.equal(discriminator(mask, image), expected)
    assert PatchGAN(1, in_channels=4)(torch.rand(1, 3, 16, 16), mask).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_the_smallest_image_gives_one_logit_and_a_smaller_one_is_refused(n_layers):
    discriminator = PatchGAN(n_layers, ndf=2).train()
    side = discriminator.smallest_image
    image = torch.rand(2, 1, side, side)
    assert discriminator(image, image).shape == (2, 1, 1, 1)
    image = torch.rand(2, 1, side, side - 1)
    message = f"image size is {side - 1}: discriminator.n_layers={n_layers} needs at least {side}"
    with pytest.raises(Hep2ganError, match=message):
        discriminator(image, image)
    with pytest.raises(RuntimeError):
        discriminator.network(torch.cat([image, image], dim=1))


def test_every_parameter_gets_a_gradient():
    discriminator = PatchGAN(2, ndf=4)
    discriminator(torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in discriminator.parameters())


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("n_layers", 0, "a whole number from 1 to 8"),
        ("n_layers", 9, "a whole number from 1 to 8"),
        ("ndf", 0, "1 or more"),
        ("in_channels", 0, "1 or more"),
        ("norm", "layer", "one of batch, instance, none"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    target = "hep2gan.models.discriminator.PatchGAN"
    assert rule in refusal_of_argument(target, "discriminator", key, value)


def test_wrong_input_is_refused():
    image = torch.rand(2, 1, 32, 32)
    for mask in (image[:1], image[:, :, :16], image[..., :16]):
        with pytest.raises(Hep2ganError, match="batch, height and width must be the same"):
            PatchGAN(1)(image, mask)
    with pytest.raises(Hep2ganError, match=r"3 \+ 1 channels: the discriminator takes 2"):
        PatchGAN(1)(torch.rand(2, 3, 32, 32), image)
