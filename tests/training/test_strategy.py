"""Batch normalisation over several devices, as far as it can be seen on one."""

import copy

import pytest
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from hep2gan.models.generator import DeepLabV3PlusGenerator
from hep2gan.training.strategy import SyncBatchNormConversion, devices_and_strategy
from tests.helpers.configs import parsed


@pytest.fixture(scope="module")
def generator():
    """On Xception, some of whose layers hold their activation in their normalisation."""
    torch.manual_seed(0)
    return DeepLabV3PlusGenerator("tu-xception41", pretrained=False, image_size=64).eval()


@torch.no_grad()
def test_the_layers_are_exchanged_and_compute_the_same(generator):
    image = torch.rand(2, 1, 64, 64)
    before = generator(image)
    ours = SyncBatchNormConversion().apply(copy.deepcopy(generator))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ours.modules())
    assert any(isinstance(m, nn.SyncBatchNorm) for m in ours.modules())
    assert torch.equal(ours(image), before)
    assert torch.equal(SyncBatchNormConversion().revert(ours)(image), before)
    assert ours.state_dict().keys() == generator.state_dict().keys()


@torch.no_grad()
def test_lightnings_own_plugin_loses_activations(generator):
    image = torch.rand(2, 1, 64, 64)
    theirs = TorchSyncBatchNorm().apply(copy.deepcopy(generator))
    assert not torch.allclose(theirs(image), generator(image))


def test_parameters_stay_the_same_objects():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    before = [id(p) for p in network.parameters()]
    assert [id(p) for p in SyncBatchNormConversion().apply(network).parameters()] == before


@pytest.mark.parametrize(("devices", "number"), [(1, 0), (2, 1)])
def test_it_is_taken_on_several_devices_when_asked_for(devices, number):
    for asked in (False, True):
        settings = parsed("trainer=cpu").trainer
        settings = settings.model_copy(update={"devices": devices, "sync_batchnorm": asked})
        plugins = devices_and_strategy(settings)["plugins"]
        assert sum(isinstance(p, SyncBatchNormConversion) for p in plugins) == number * asked
