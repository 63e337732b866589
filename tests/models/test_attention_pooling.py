"""Regions and their averages by hand; gradients, empty masks, weights and what is refused."""

import math

import pytest
import timm
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.models.attention_pooling import (
    LEAST_SHARE,
    AttentionPoolingClassifier,
    mask_regions,
    pool_by_region,
)
from tests.helpers.schema import refusal_of_argument


def scratch(backbone="resnet10t", **given):
    torch.manual_seed(0)
    return AttentionPoolingClassifier(6, backbone, **{"pretrained": False} | given)


def cells(side=64, batch=3):
    g = torch.Generator().manual_seed(2)
    mask = torch.zeros(batch, 1, side, side)
    mask[:, :, side // 4 : -side // 4, side // 4 : -side // 4] = 1
    return torch.rand(batch, 1, side, side, generator=g), mask


def test_regions_by_hand():
    mask = torch.zeros(1, 1, 7, 7)
    mask[0, 0, 3, 3], mask[0, 0, 3, 4] = 1, 0.5
    nucleus, ring, whole = mask_regions(mask, ring=1 / 7)[0]
    assert torch.equal(nucleus, mask[0, 0])
    expected = torch.zeros(7, 7)
    # One pixel around the two, where the brighter of them counts, less what they cover.
    expected[2:5, 2:5], expected[2:5, 5] = 1, 0.5
    expected[3, 3], expected[3, 4] = 0, 0.5
    assert torch.equal(ring, expected)
    assert torch.equal(whole, torch.ones(7, 7))


def test_averages_by_hand():
    last = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 0.0], [0.0, 6.0]]]])
    # Regions of 4 × 4 pixels on a map of 2 × 2: the upper left quarter at half strength.
    weights = torch.zeros(1, 2, 4, 4)
    weights[0, 0, :2, :2], weights[0, 0, 2, 2] = 0.5, 1
    weights[0, 1] = 1
    corner = torch.tensor([0.5 * 1 + 0.25 * 4, 0.5 * 10 + 0.25 * 6]) / 0.75
    whole = torch.tensor([2.5, 4.0])
    torch.testing.assert_close(pool_by_region(last, weights), torch.cat([corner, whole])[None])


def test_an_empty_region_is_zeros_and_a_small_one_fades():
    last, weights = torch.ones(1, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    weights[1] = LEAST_SHARE / 2
    pooled = pool_by_region(last.expand(2, -1, -1, -1), weights)
    torch.testing.assert_close(pooled, torch.tensor([[0.0], [0.5]]).expand(2, 3))


def test_features_are_three_averages_of_the_last_map():
    classifier = scratch().eval()
    image, mask = cells()
    with torch.no_grad():
        logits, features = classifier(image, mask)
        last = classifier.backbone.forward_features(image)
    assert classifier.feature_dim == features.shape[1] == 3 * 512
    torch.testing.assert_close(features, pool_by_region(last, mask_regions(mask, 0.15)))
    torch.testing.assert_close(features[:, 1024:], last.mean(dim=(2, 3)))
    torch.testing.assert_close(logits, classifier.output(features))


def test_a_linear_layer_may_narrow_the_features():
    classifier = scratch(feature_dim=32)
    _, features = classifier(*cells())
    assert classifier.feature_dim == features.shape[1] == 32
    assert classifier.embedding.in_features == 3 * 512


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_masks_without_a_border_give_numbers_and_gradients(value):
    image, _ = cells()
    mask = torch.full_like(image, value, requires_grad=True)
    logits, _ = scratch()(image, mask)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert mask.grad.isfinite().all()


def test_the_mask_matters_and_gets_gradients():
    classifier = scratch(options={"output_stride": 16}).eval()
    image, mask = cells()
    soft = (0.2 + 0.6 * mask).requires_grad_()
    classifier(image, soft)[0].square().sum().backward()
    assert soft.grad.abs().max() > 0
    assert not torch.allclose(classifier(image, mask)[0], classifier(image, mask.roll(16, -1))[0])


def test_the_image_alone_goes_through_the_backbone():
    assert scratch().backbone.conv1[0].in_channels == 1
    assert scratch(image_channels=3).backbone.conv1[0].in_channels == 3


@pytest.mark.parametrize("image_channels", [1, 3])
def test_at_step_0_the_whole_is_the_pretrained_networks_average(tmp_path, image_channels):
    torch.manual_seed(1)
    network = timm.create_model("resnet10t", num_classes=1000).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    classifier = scratch(weights=tmp_path / "w.pth", image_channels=image_channels).eval()
    image, mask = cells()
    with torch.no_grad():
        _, features = classifier(image, mask)
        expected = network.forward_features(image.repeat(1, 3, 1, 1)).mean(dim=(2, 3))
    torch.testing.assert_close(features[:, 1024:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resnet10t", "resnet50.tv_in1k", "convnext_atto", "mobilenetv3_small_100", "vgg11"]
)
def test_every_parameter_gets_a_gradient(name):
    """A parameter without one would hang training on several devices."""
    with torch.device("meta"):
        classifier = scratch(name)
        classifier(*[x.to("meta") for x in cells()])[0].square().sum().backward()
    assert [n for n, p in classifier.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("ring", 0, "above 0 and at most 0.5"),
        ("ring", 0.6, "above 0 and at most 0.5"),
        ("ring", math.nan, "above 0 and at most 0.5"),
        ("image_channels", 2, "one of 1, 3"),
        ("feature_dim", 0, "1 or more, or null"),
        ("drop_rate", 1.5, "from 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    target = "hep2gan.models.attention_pooling.AttentionPoolingClassifier"
    assert rule in refusal_of_argument(target, "classifier", key, value)


def test_what_cannot_work_is_refused():
    image, mask = cells()
    vit = {"options": {"img_size": 64}}
    refused = {
        "attention pooling is unguided": lambda: scratch(guided=False),
        "no mask was given": lambda: scratch()(image),
        "masks are": lambda: scratch()(image, mask[:, :, :32]),
        "needs a map": lambda: scratch("vit_tiny_patch16_224", **vit)(image, mask),
    }
    for message, call in refused.items():
        with pytest.raises(Hep2ganError, match=message):
            call()
