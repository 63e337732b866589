"""Several ranks, as far as can be seen on one device: their GPUs, backend and batch statistics."""

import copy

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.models.generator import DeepLabV3PlusGenerator
from hep2gan.training import distributed
from hep2gan.training.devices import (
    choose_process_group_backend,
    device_of_rank,
    require_devices,
)
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


# ---------------------------------------------------------------- which GPU, and what sends


@pytest.fixture
def one_gpu(monkeypatch):
    """As if there were one GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number=0: (9, 0))


def on_gpus(**given):
    return TrainerSettings(accelerator="gpu", **{"devices": 2} | given)


@pytest.mark.parametrize(
    ("share", "numbers"), [(False, [0, 1, None, None]), (True, [0, 1, 0, 1])], ids=str
)
def test_ranks_get_the_gpu_of_their_number_or_share(share, numbers):
    found = [device_of_rank(local, 2, share) for local in range(4)]
    assert [device and device.index for device in found] == numbers
    assert device_of_rank(0, 0, share) is None


@pytest.mark.parametrize(
    ("given", "backend"),
    [
        ({}, "nccl"),
        ({"process_group_backend": "gloo"}, "gloo"),
        ({"share_device": True}, "gloo"),
        ({"accelerator": "cpu"}, "gloo"),
        ({"accelerator": "cpu", "share_device": True, "process_group_backend": "gloo"}, "gloo"),
    ],
    ids=str,
)
def test_what_sends_gradients(one_gpu, given, backend):
    assert choose_process_group_backend(TrainerSettings(**given)) == backend


def test_two_ranks_share_a_gpu(one_gpu, monkeypatch):
    settings = on_gpus(share_device=True)
    assert require_devices(settings) == "2 ranks share 1 GPU (a card), by gloo"
    for name, value in {
        "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    trainer = L.Trainer(
        **devices_and_strategy(settings), logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
    )  # fmt: skip
    assert trainer.strategy.root_device == torch.device("cuda", 0)
    assert trainer.strategy.determine_ddp_device_ids() == [0]
    assert trainer.strategy.process_group_backend == "gloo"
    assert (trainer.world_size, trainer.local_rank) == (2, 1)


def test_more_ranks_than_gpus_are_refused_unless_they_share(one_gpu, monkeypatch):
    with pytest.raises(Hep2ganError, match="devices is 2, this machine has 1 GPU") as told:
        require_devices(on_gpus())
    assert "trainer.share_device=true" in told.value.fix
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Hep2ganError, match="rank 1 has no GPU of its own") as told:
        distributed.init_process_group(on_gpus())
    assert "trainer.share_device=true" in told.value.fix
    # What the fix leads to.
    assert device_of_rank(1, 1, on_gpus(share_device=True).share_device) is not None


@pytest.mark.parametrize(
    ("given", "told", "mended"),
    [
        (
            {"share_device": True, "process_group_backend": "nccl"},
            "NCCL refuses two ranks on one GPU.*set trainer.process_group_backend=gloo",
            {"share_device": True, "process_group_backend": "gloo"},
        ),
        (
            {"accelerator": "cpu", "process_group_backend": "nccl"},
            "NCCL sends between GPUs alone.*set trainer.process_group_backend=null",
            {"accelerator": "cpu", "process_group_backend": None},
        ),
    ],
)
def test_nccl_is_refused_where_it_cannot_work(one_gpu, given, told, mended):
    with pytest.raises(Hep2ganError, match=told):
        require_devices(TrainerSettings(devices=2, **given))
    assert require_devices(TrainerSettings(devices=2, **mended))
