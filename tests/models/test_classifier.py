"""Timm classifiers: features, first convolution, weights and what is refused."""

import time

import pytest
import timm
import torch
from safetensors.torch import save_file

from hep2gan.config import PROVIDED
from hep2gan.errors import Hep2ganError
from hep2gan.models.classifier import TimmClassifier
from hep2gan.settings import Component, component_errors
from tests.helpers.schema import refusal_of_argument

K = 6


def scratch(backbone="resnet10t", **given):
    torch.manual_seed(0)
    return TimmClassifier(K, backbone, **{"pretrained": False} | given)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights on disk, as timm would save ImageNet ones, by name of the network."""
    folder, networks = tmp_path_factory.mktemp("weights"), {}
    for name in ("resnet10t", "convnext_atto", "mobilenetv3_small_100", "vit_tiny_patch16_224"):
        torch.manual_seed(len(name))
        networks[name] = timm.create_model(name, pretrained=False, num_classes=1000)
        torch.save(networks[name].state_dict(), folder / f"{name}.pth")
        save_file(networks[name].state_dict(), folder / f"{name}.safetensors")
    return folder, networks


def cells(side=64, batch=3):
    g = torch.Generator().manual_seed(2)
    image = torch.rand(batch, 1, side, side, generator=g)
    return image, (torch.rand(batch, 1, side, side, generator=g) > 0.5).float()


def features_of(network, rgb):
    return network.forward_head(network.forward_features(rgb), pre_logits=True)


NAMES = ["resnet10t", "convnext_atto", "mobilenetv3_small_100"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("image_channels", [1, 3])
def test_at_step_0_it_is_the_pretrained_network_on_grey_images(files, name, guided, image_channels):
    folder, networks = files
    weights = folder / f"{name}.{'pth' if guided else 'safetensors'}"
    given = {"guided": guided, "image_channels": image_channels, "weights": weights}
    classifier = scratch(name, **given).eval()
    image, mask = cells()
    with torch.no_grad():
        _, features = classifier(image, mask if guided else None)
        expected = features_of(networks[name].eval(), image.repeat(1, 3, 1, 1))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("image_channels", [1, 3])
def test_first_convolution_is_grey_sum_and_empty_mask(files, image_channels):
    folder, networks = files
    rgb = networks["resnet10t"].conv1[0].weight
    classifier = scratch(weights=folder / "resnet10t.pth", image_channels=image_channels)
    first = classifier.backbone.conv1[0]
    assert first.in_channels == image_channels + 1
    grey = rgb.sum(1, keepdim=True) if image_channels == 1 else rgb
    torch.testing.assert_close(first.weight[:, :-1], grey)
    assert (first.weight[:, -1] == 0).all()


def test_the_empty_mask_kernels_learn(files):
    classifier = scratch(weights=files[0] / "resnet10t.pth")
    logits, _ = classifier(*cells())
    logits.square().sum().backward()
    assert classifier.backbone.conv1[0].weight.grad[:, 1].abs().max() > 0


def test_from_scratch_the_mask_is_drawn_as_the_image_is():
    for image_channels in (1, 3):
        first = scratch(image_channels=image_channels).backbone.conv1[0].weight
        torch.manual_seed(0)
        plain = timm.create_model("resnet10t", num_classes=0, in_chans=image_channels + 1)
        assert torch.equal(first, plain.conv1[0].weight)
        assert first[:, -1].std().item() == pytest.approx(first[:, 0].std().item(), rel=0.3)


def test_mask_changes_a_guided_network_and_every_grey_channel_is_the_image():
    classifier = scratch(image_channels=3).eval()
    image, mask = cells()
    assert not torch.equal(classifier(image, mask)[0], classifier(image, 1 - mask)[0])
    by_hand = classifier.backbone(torch.cat([image, image, image, mask], dim=1))
    torch.testing.assert_close(classifier(image, mask)[1], by_hand)


WIDTHS = {"resnet50.tv_in1k": 2048, "vgg16.tv_in1k": 4096, "resnet10t": 512, "convnext_tiny": 768}


@pytest.mark.parametrize("name", WIDTHS)
def test_shapes_of_logits_and_features(name):
    with torch.device("meta"):
        classifier = scratch(name)
        for side in (64, 128):
            image = torch.rand(2, 1, side, side)
            logits, features = classifier(image, image)
            assert (logits.shape, features.shape) == ((2, K), (2, WIDTHS[name]))
    assert classifier.feature_dim == WIDTHS[name]


def test_resnet50_features_are_the_global_average_pool():
    classifier = scratch("resnet50.tv_in1k").eval()
    image, mask = cells(128, batch=2)
    with torch.no_grad():
        logits, features = classifier(image, mask)
        last = classifier.backbone.forward_features(torch.cat([image, mask], dim=1))
    assert last.shape == (2, 2048, 4, 4)
    torch.testing.assert_close(features, last.mean(dim=(2, 3)))
    torch.testing.assert_close(logits, classifier.output(features))


def test_a_linear_layer_may_narrow_the_features():
    classifier = scratch(feature_dim=128).eval()
    image, mask = cells()
    logits, features = classifier(image, mask)
    assert classifier.feature_dim == 128
    assert features.shape == (3, 128)
    pooled = classifier.backbone(torch.cat([image, mask], dim=1))
    torch.testing.assert_close(features, classifier.embedding(pooled))
    torch.testing.assert_close(logits, classifier.output(features))


def test_dropout_falls_on_the_output_layer_not_on_the_features():
    classifier = scratch(drop_rate=0.5, guided=False)
    image, _ = cells()
    # Batch norm in eval mode, dropout in training: all randomness left is the dropout's.
    classifier.eval()
    classifier.dropout.train()
    (first, features), (second, again) = classifier(image), classifier(image)
    torch.testing.assert_close(features, again)
    assert not torch.equal(first, second)


def test_transformers_work_with_their_own_options(files):
    folder, networks = files
    name = "vit_tiny_patch16_224"
    given = {"weights": folder / f"{name}.pth", "options": {"dynamic_img_size": True}}
    classifier = scratch(name, **given).eval()
    network = timm.create_model(name, dynamic_img_size=True).eval()
    network.load_state_dict(networks[name].state_dict())
    image, mask = cells()
    with torch.no_grad():
        expected = features_of(network, image.repeat(1, 3, 1, 1))
        torch.testing.assert_close(classifier(image, mask)[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*NAMES, *WIDTHS])
def test_every_parameter_gets_a_gradient(name):
    """A parameter without one would hang training on several devices."""
    with torch.device("meta"):
        classifier = scratch(name, feature_dim=8)
        classifier(*[x.to("meta") for x in cells()])[0].square().sum().backward()
    assert [n for n, p in classifier.named_parameters() if p.grad is None] == []


def test_pretrained_and_from_scratch_have_the_same_keys(files):
    """So that a checkpoint loads into a network built without its initial weights."""
    for guided in (True, False):
        plain = scratch(guided=guided).state_dict()
        loaded = scratch(guided=guided, weights=files[0] / "resnet10t.pth").state_dict()
        assert {k: v.shape for k, v in plain.items()} == {k: v.shape for k, v in loaded.items()}


def test_masks_go_with_guided_networks_only():
    image, mask = cells()
    with pytest.raises(Hep2ganError, match="no mask was given to a guided classifier"):
        scratch()(image)
    with pytest.raises(Hep2ganError, match="a mask was given to an unguided classifier"):
        scratch(guided=False)(image, mask)


def test_an_unreachable_hub_is_told_within_seconds(unreachable_hub):
    started = time.monotonic()
    with pytest.raises(Hep2ganError) as told:
        TimmClassifier(K)
    assert time.monotonic() - started < 5
    for part in (
        "timm/resnet50.tv_in1k are not in the cache",
        unreachable_hub,
        "pass classifier.weights=FILE",
        "classifier.pretrained=false",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("image_channels", 2, "one of 1, 3"),
        ("image_channels", True, "one of 1, 3"),
        ("feature_dim", 0, "1 or more, or null"),
        ("drop_rate", -0.1, "from 0 to 1"),
        ("backbone", "", "a non-empty string"),
        ("weights", 5, "the name of a file, or null"),
        ("options", [], "a group of keys, or null"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    target = "hep2gan.models.classifier.TimmClassifier"
    assert rule in refusal_of_argument(target, "classifier", key, value)


@pytest.mark.parametrize("key", ["num_classes", "guided"])
def test_what_the_program_provides_is_no_setting(key):
    given = {"_target_": "hep2gan.models.classifier.TimmClassifier", key: 1}
    errors = component_errors(Component.model_validate(given), "classifier", PROVIDED["classifier"])
    assert list(errors) == [f"classifier.{key}"]


def test_unknown_backbones_and_wrong_shapes_are_refused():
    image, mask = cells()
    refused = {
        r"'resnet5O': timm knows no such model.*resnet50": lambda: scratch("resnet5O"),
        r"'resnet50\.nope'.*without that tag.*tv_in1k": lambda: scratch("resnet50.nope"),
        r"images are \(3, 3, 64, 64\)": lambda: scratch()(image.repeat(1, 3, 1, 1), mask),
        r"masks are \(3, 1, 32, 64\)": lambda: scratch()(image, mask[:, :, :32]),
    }
    for message, call in refused.items():
        with pytest.raises(Hep2ganError, match=message):
            call()
