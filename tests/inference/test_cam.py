"""Class activation maps: by hand, where they must lie, and which layers have them."""

import pytest
import timm
import torch
from torch import nn

from hep2gan.errors import Hep2ganError
from hep2gan.inference.cam import ActivationMapper, find_map_layer
from hep2gan.models.attention_pooling import AttentionPoolingClassifier
from hep2gan.models.classifier import TimmClassifier
from hep2gan.models.gao import GaoNet
from hep2gan.models.guidance import frozen


class Linear(nn.Module):
    """Two 1 × 1 convolutions, averaged over some places, and two classes."""

    def __init__(self, kernels, output, places=(slice(None), slice(None))):
        super().__init__()
        self.map = nn.Conv2d(1, 2, 1, bias=False)
        self.map.weight.data = torch.tensor(kernels).view(2, 1, 1, 1)
        self.output = nn.Linear(2, 2, bias=False)
        self.output.weight.data = torch.tensor(output)
        self.places = places

    def forward(self, image, mask=None):
        features = self.map(image)[(..., *self.places)].mean(dim=(2, 3))
        return self.output(features), features


IMAGE = torch.arange(1.0, 65.0).view(1, 1, 8, 8)
KERNELS, OUTPUT = [1.0, 2.0], [[3.0, -1.0], [-2.0, 0.5]]


def test_a_linear_network_by_hand():
    # Class 0: (3 · 1 − 1 · 2) x / 64 = x / 64 at each place; class 1: (−2 + 1) x / 64, cut at 0.
    mapper = ActivationMapper(Linear(KERNELS, OUTPUT))
    first = mapper(IMAGE, None, torch.tensor([0]))
    assert torch.allclose(first, IMAGE[:, 0] / 64)
    assert torch.equal(mapper(IMAGE, None, torch.tensor([1])), torch.zeros(1, 8, 8))
    # Each image of a batch has its own class, and negative pixels turn the signs.
    both = mapper(torch.cat([IMAGE, -IMAGE]), None, torch.tensor([0, 1]))
    assert torch.allclose(both, (IMAGE / 64).expand(2, 1, 8, 8)[:, 0])


@pytest.mark.parametrize("corner", [(0, 0), (0, 4), (4, 0), (4, 4)])
def test_a_network_that_looks_at_a_corner_is_mapped_there(corner):
    top, left = corner
    places = (slice(top, top + 4), slice(left, left + 4))
    mapped = ActivationMapper(Linear(KERNELS, OUTPUT, places))(IMAGE, None, torch.tensor([0]))[0]
    assert mapped[places].min() > 0
    assert mapped[places].sum() == mapped.sum()
    assert mapped.max() == 1


def classifier(kind=TimmClassifier, **given):
    torch.manual_seed(0)
    return kind(num_classes=3, pretrained=False, **given).eval()


NETWORKS = {
    "resnet10t": lambda: classifier(backbone="resnet10t"),
    "resnet50": lambda: classifier(backbone="resnet50"),
    "vgg11": lambda: classifier(backbone="vgg11", options={"mlp_ratio": 0.0625}),
    "densenet121": lambda: classifier(backbone="densenet121"),
    "convnext": lambda: classifier(backbone="convnext_atto"),
    "attention": lambda: classifier(AttentionPoolingClassifier, backbone="resnet10t"),
    "gao": lambda: GaoNet(3, guided=True).eval(),
}
LAYERS = {
    ("resnet10t", 64): ("backbone.layer2", (8, 8)),
    ("resnet10t", 224): ("backbone.layer4", (7, 7)),
    ("resnet50", 64): ("backbone.layer2", (8, 8)),
    ("resnet50", 224): ("backbone.layer4", (7, 7)),
    ("vgg11", 64): ("backbone.features.14", (8, 8)),
    ("densenet121", 224): ("backbone.features", (7, 7)),
    ("convnext", 224): ("backbone.norm_pre", (7, 7)),
    ("attention", 224): ("backbone", (7, 7)),
    ("gao", 64): ("body.7", (9, 9)),
}


@pytest.mark.parametrize(("name", "side"), LAYERS)
def test_the_layer_that_is_mapped(name, side):
    network = NETWORKS[name]()
    image = torch.rand(1, 1, side, side)
    found = find_map_layer(network, image, image)
    names = {module: name for name, module in network.named_modules()}
    assert (names[found.module], found.size) == LAYERS[name, side]


def test_average_pooling_makes_it_grad_cam():
    """Against eqs 1 and 2 of Selvaraju et al., on the last map of a residual network."""
    network = classifier(backbone="resnet10t")
    image, mask = torch.rand(2, 2, 1, 224, 224).unbind()
    network.output.bias.data.zero_()
    classes = network(image, mask)[0].argmax(dim=1)  # something speaks for these
    last = network.backbone.forward_features(torch.cat([image, mask], dim=1)).detach()
    last.requires_grad_()
    logits = network.output(network.embedding(network.backbone.forward_head(last)))
    (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), last)
    expected = (gradient.mean((2, 3), keepdim=True) * last).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(expected, (224, 224), mode="bilinear")[:, 0]
    expected = expected / expected.amax((1, 2), keepdim=True)
    found = ActivationMapper(network)(image, mask, classes)
    assert torch.allclose(found, expected.detach(), atol=1e-4)
    assert (found.flatten(1).std(dim=1) > 0.01).all()


@torch.no_grad()
def test_nothing_of_it_stays():
    network = classifier(backbone="resnet10t")
    image = torch.rand(2, 1, 64, 64)
    before = network(image, image)[0]
    with frozen(network):
        maps = ActivationMapper(network)(image, image, before.argmax(dim=1))
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(network(image, image)[0], before)


class Tokens(nn.Module):
    """A transformer of timm with the contract of a classifier."""

    def __init__(self, name):
        super().__init__()
        self.backbone = timm.create_model(name, num_classes=3, in_chans=1, img_size=64)

    def forward(self, image, mask=None):
        return self.backbone(image), None


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_transformers_are_refused(name):
    with pytest.raises(Hep2ganError, match=r"no convolutional map.*Fix: leave overlays=cam out"):
        ActivationMapper(Tokens(name).eval())(torch.rand(1, 1, 64, 64), None, torch.tensor([0]))


def test_a_network_without_convolutions_is_refused():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.output = nn.Linear(64, 2)

        def forward(self, image, mask=None):
            return self.output(image.flatten(1)), image.flatten(1)

    with pytest.raises(Hep2ganError, match="no convolutional map"):
        ActivationMapper(Flat())(IMAGE, None, torch.tensor([0]))
