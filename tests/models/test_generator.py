"""DeepLabv3+: sizes, shapes, weights and what is refused."""

import time

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.models.generator import DeepLabV3PlusGenerator, dead_rates, fitting_rates
from tests.helpers.schema import refusal_of_argument

MOBILE = "mobilenetv3_small_100"
SMALL = {"encoder": f"tu-{MOBILE}", "pretrained": False, "decoder_channels": 32}
FITTING = {"image_size": 64, "atrous_rates": (1, 2, 3)}


def small(**given):
    torch.manual_seed(0)
    return DeepLabV3PlusGenerator(**SMALL | FITTING | given)


def settings_of(convolutions):
    return [c.dilation[0] for c in convolutions if c.kernel_size == (3, 3)]


@pytest.mark.parametrize(
    ("depth", "stride", "millions"),
    # At stride 8, Xception-71 has a block that no longer strides, and so no shortcut convolution.
    [(41, 16, 28.1), (65, 16, 41.0), (71, 16, 43.5), (41, 8, 28.1), (65, 8, 41.0), (71, 8, 42.9)],
)
def test_parameter_counts_of_the_xceptions(depth, stride, millions):
    with torch.device("meta"):
        generator = DeepLabV3PlusGenerator(f"tu-xception{depth}", False, output_stride=stride)
    count = sum(p.numel() for p in generator.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_full_size_gives_logits_of_the_images_size():
    generator = DeepLabV3PlusGenerator(pretrained=False).eval()
    with torch.no_grad():
        logits = generator(torch.rand(2, 1, 128, 128))
    assert logits.shape == (2, 1, 128, 128)
    pyramid = generator.network.decoder.aspp[0]
    convolutions = [m for m in pyramid.modules() if isinstance(m, nn.Conv2d)]
    assert settings_of(convolutions) == [2, 4, 6]
    assert [m.p for m in generator.modules() if isinstance(m, nn.Dropout)][-1] == 0.5


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("side", [64, 96])
def test_compact_shapes_and_the_map_under_the_pyramid(stride, side):
    generator = small(output_stride=stride).eval()
    sides = []
    hook = lambda _module, inputs, _output: sides.append(inputs[0].shape[-1])  # noqa: E731
    generator.network.decoder.aspp.register_forward_hook(hook)
    assert generator(torch.rand(3, 1, side, side)).shape == (3, 1, side, side)
    assert sides == [side // stride]


def test_oblong_images_and_stride_8_multiples_of_8():
    assert small().eval()(torch.rand(1, 1, 64, 96)).shape == (1, 1, 64, 96)
    generator = small(output_stride=8, image_size=72).eval()
    assert generator(torch.rand(1, 1, 72, 72)).shape == (1, 1, 72, 72)


@pytest.mark.parametrize("encoder", [f"tu-{MOBILE}", "tu-xception65"])
def test_every_parameter_gets_a_gradient(encoder):
    """A parameter without one would hang training on several devices."""
    with torch.device("meta"):
        generator = small(encoder=encoder).train()
        generator(torch.rand(2, 1, 64, 64)).square().sum().backward()
    assert [n for n, p in generator.named_parameters() if p.grad is None] == []


def test_output_is_logits_not_probabilities():
    generator = small().eval()
    head = generator.network.segmentation_head[0]
    head.weight.data.zero_()
    head.bias.data.fill_(7.0)
    logits = generator(torch.rand(1, 1, 64, 64))
    torch.testing.assert_close(logits, torch.full((1, 1, 64, 64), 7.0))


def test_logits_are_float32_under_autocast_and_float64_in_float64():
    generator = small().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(torch.rand(1, 1, 64, 64)).dtype == torch.float32
    assert generator.double()(torch.rand(1, 1, 64, 64).double()).dtype == torch.float64


def test_options_reach_the_decoder():
    generator = small(decoder_channels=48, dropout=0.1)
    assert generator.network.segmentation_head[0].in_channels == 48
    assert [m.p for m in generator.network.decoder.modules() if isinstance(m, nn.Dropout)] == [0.1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    torch.manual_seed(1)
    state = timm.create_model(MOBILE, pretrained=False).state_dict()
    folder = tmp_path_factory.mktemp("weights")
    torch.save(state, folder / "mobile.pth")
    save_file(state, folder / "mobile.safetensors")
    torch.save(timm.create_model("resnet10t").state_dict(), folder / "resnet.pth")
    return folder, state


@pytest.mark.parametrize("name", ["mobile.pth", "mobile.safetensors"])
@pytest.mark.parametrize("pretrained", [False, True])
def test_local_weights_fill_the_encoder_and_grey_is_the_sum_of_rgb(files, name, pretrained):
    folder, state = files
    encoder = small(weights=folder / name, pretrained=pretrained).network.encoder.model
    stem = encoder.conv_stem.weight
    torch.testing.assert_close(stem, state["conv_stem.weight"].sum(1, keepdim=True))
    loaded = dict(encoder.state_dict())
    for key in ("bn1.running_mean", "blocks.0.0.conv_dw.weight"):
        assert torch.equal(loaded[key], state[key])


def test_pretrained_and_from_scratch_have_the_same_keys(files):
    """So that a checkpoint loads into a network built without its initial weights."""
    scratch, loaded = small().state_dict(), small(weights=files[0] / "mobile.pth").state_dict()
    assert {k: v.shape for k, v in scratch.items()} == {k: v.shape for k, v in loaded.items()}


def test_weights_of_another_network_are_refused(files):
    with pytest.raises(Hep2ganError, match=r"resnet\.pth.*Fix: pass generator\.weights=FILE"):
        small(weights=files[0] / "resnet.pth")
    with pytest.raises(Hep2ganError, match="choose an encoder that starts with tu-"):
        small(encoder="resnet18", weights=files[0] / "resnet.pth")


@pytest.mark.parametrize("encoder", ["tu-xception65", "tu-xception65.tf_in1k", "resnet18"])
def test_an_unreachable_hub_is_told_within_seconds(encoder, unreachable_hub):
    started = time.monotonic()
    with pytest.raises(Hep2ganError) as told:
        DeepLabV3PlusGenerator(encoder)
    assert time.monotonic() - started < 5
    text = str(told.value)
    assert "not in the cache" in text
    assert "pass generator.weights=FILE" in text
    assert "generator.pretrained=false" in text


def test_encoders_that_cannot_be_used_are_refused():
    for encoder, message in {
        "tu-xceptoin65": "encoder is 'xceptoin65': timm knows no such model. .*xception65",
        "xception65": "there is no such encoder. Fix: choose tu-xception65",
        "xception": "generator.encoder=xception cannot be built .*dilated",
        "tu-legacy_xception": "generator.encoder=legacy_xception cannot be built .*output_stride",
    }.items():
        with pytest.raises(Hep2ganError, match=message):
            small(encoder=encoder)


def test_sizes_that_do_not_fit_are_refused():
    message = r"image size is 100: must be divisible by 16\. Fix: choose 96 or 112\."
    with pytest.raises(Hep2ganError, match=message):
        small(image_size=100)
    generator = small().eval()
    for shape in ((2, 1, 100, 64), (2, 1, 64, 100)):
        with pytest.raises(Hep2ganError, match=message):
            generator(torch.rand(shape))
    with pytest.raises(Hep2ganError, match=r"image size is 8: .* choose 16"):
        generator(torch.rand(2, 1, 8, 8))
    for shape in ((1, 64, 64), (2, 3, 64, 64)):
        with pytest.raises(Hep2ganError, match=r"must be \(B, 1, H, W\)"):
            generator(torch.rand(shape))


def test_a_training_batch_of_one_is_refused_and_fine_in_evaluation():
    with pytest.raises(Hep2ganError, match="training batch of 1 image"):
        small().train()(torch.rand(1, 1, 64, 64))
    assert small().eval()(torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)
    assert small().train()(torch.rand(2, 1, 64, 64)).shape == (2, 1, 64, 64)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("output_stride", 32, "one of 16, 8"),
        ("output_stride", 16.0, "one of 16, 8"),
        ("atrous_rates", [1, 2], "three positive whole numbers"),
        ("atrous_rates", [1, 2, 3, 4], "three positive whole numbers"),
        ("atrous_rates", [0, 1, 2], "three positive whole numbers"),
        ("atrous_rates", [1.5, 2, 3], "three positive whole numbers"),
        ("decoder_channels", 0, "1 or more"),
        ("dropout", 1.1, "from 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    target = "hep2gan.models.generator.DeepLabV3PlusGenerator"
    assert rule in refusal_of_argument(target, "generator", key, value)


def test_dead_rates_warn_with_a_fix(caplog):
    small(image_size=128, atrous_rates=(2, 4, 6))
    assert caplog.messages == []
    small(image_size=128, atrous_rates=(12, 24, 36))
    assert caplog.messages == [
        "generator.atrous_rates [12, 24, 36] see only padding on a 8x8 feature map (128 px,"
        " stride 16): 1 of 9 taps is alive. Fix: generator.atrous_rates=[2,4,6]."
    ]


@pytest.mark.parametrize(("side", "rate"), [(8, 7), (8, 8), (8, 24), (2, 1), (4, 4)])
def test_dead_rates_are_those_with_a_gradient_at_the_centre_alone(side, rate):
    kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)
    F.conv2d(torch.ones(1, 1, side, side), kernel, padding=rate, dilation=rate).sum().backward()
    taps = int((kernel.grad != 0).sum())
    assert taps in (1, 9)
    assert dead_rates(16 * side, 16, [rate]) == ([rate] if taps == 1 else [])


def test_rates_of_the_library_are_dead_at_128_px():
    assert dead_rates(128, 16, (12, 24, 36)) == [12, 24, 36]
    assert dead_rates(128, 16, (6, 12, 18)) == [12, 18]
    assert dead_rates(128, 8, (3, 6, 9)) == []


def test_suggested_rates_are_the_defaults_and_alive():
    assert fitting_rates(128, 16) == (2, 4, 6)
    assert fitting_rates(64, 16) == (1, 2, 3)
    for size, stride in ((size, stride) for size in range(64, 513, 16) for stride in (8, 16)):
        assert dead_rates(size, stride, fitting_rates(size, stride)) == []
