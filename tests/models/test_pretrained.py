"""Initial weights: local files that are missing, damaged or of another network; the hub."""

import logging

import pytest
import timm
import torch
from torch import nn

from hep2gan.errors import Hep2ganError
from hep2gan.models import pretrained
from hep2gan.models.pretrained import (
    PretrainedWeights,
    adapt_first_convolution,
    as_path,
    with_mask_channel,
)

FIX = (
    r"Fix: pass classifier\.weights=FILE \(\.pth or \.safetensors\) or classifier\.pretrained=false"
)


def initial(file=None, pretrained=False, model="resnet10t"):
    return PretrainedWeights(model, pretrained, file, "classifier.backbone")


def test_nothing_wanted_nothing_loaded():
    assert not initial().loads
    assert initial().timm_arguments() == {"pretrained": False}
    initial().require_filled(nn.Linear(2, 2))


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(Hep2ganError, match=rf"{tmp_path}/no\.pth does not exist\. {FIX}"):
        initial(tmp_path / "no.pth").timm_arguments()


@pytest.mark.parametrize("name", ["epoch0002.ckpt", "best.ckpt", "renamed.pth"])
@pytest.mark.parametrize("owner", ["generator", "classifier"])
def test_the_checkpoint_of_a_run_is_refused_as_such(tmp_path, name, owner, caplog):
    caplog.set_level("INFO")
    of_run = {"classifier.backbone.fc.weight": torch.ones(2), "generator.head.bias": torch.ones(1)}
    torch.save({"state_dict": of_run, "epoch": 2}, tmp_path / name)
    weights = PretrainedWeights("resnet10t", False, tmp_path / name, f"{owner}.backbone")
    words = rf"{owner}\.weights=.*{name} is the checkpoint of a run: weights are those of one"
    with pytest.raises(Hep2ganError, match=rf"{words}.*leave {owner}\.weights out"):
        weights.timm_arguments()
    if name.endswith(".ckpt"):
        with pytest.raises(Hep2ganError, match=words):
            weights.require_reachable()
    assert "Loaded state_dict" not in caplog.text


def test_the_weights_of_one_network_are_no_checkpoint_of_a_run(tmp_path):
    # Its output layer is called classifier, too.
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "w.pth")
    initial(tmp_path / "w.pth", model="mobilenetv3_small_050").timm_arguments()


@pytest.mark.parametrize("name", ["torn.pth", "torn.safetensors"])
def test_a_damaged_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not a network")
    with pytest.raises(Hep2ganError, match=f"{tmp_path}/{name} cannot be read .*{FIX}"):
        initial(tmp_path / name).timm_arguments()


def test_a_truncated_file_is_named(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), whole)
    whole.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(Hep2ganError, match=r"whole\.pth cannot be read"):
        initial(whole).timm_arguments()


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(Hep2ganError, match=r"trap\.pth cannot be read"):
        initial(tmp_path / "trap.pth").timm_arguments()


def test_a_file_without_tensors_is_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(Hep2ganError, match=r"empty\.pth holds no tensors"):
        initial(tmp_path / "empty.pth").timm_arguments()


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_training_checkpoint_of_timm_is_unwrapped(tmp_path, wrapped):
    network, file = timm.create_model("resnet10t"), tmp_path / "x.pth"
    state = network.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, file)
    loaded = timm.create_model("resnet10t", num_classes=0, **initial(file).timm_arguments())
    assert torch.equal(loaded.layer1[0].conv1.weight, network.layer1[0].conv1.weight)
    initial(file).require_filled(loaded)


def test_the_same_kind_of_network_but_deeper_is_not_filled(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "ten.pth")
    weights = initial(tmp_path / "ten.pth", model="resnet14t")
    with pytest.raises(
        Hep2ganError, match=r"ten\.pth fills \d+ of \d+ weight tensors of resnet14t"
    ):
        weights.require_filled(timm.create_model("resnet14t", num_classes=0))
    # Drawn anew, not loaded: not one kernel is found again.
    other = timm.create_model("resnet10t", num_classes=0)
    with pytest.raises(Hep2ganError, match=r"fills 0 of \d+ .*must be of the same architecture"):
        initial(tmp_path / "ten.pth").require_filled(other)


def test_only_first_convolution_and_output_layer_may_differ(tmp_path):
    network, file = timm.create_model("resnet10t"), tmp_path / "x.pth"
    torch.save(network.state_dict(), file)
    for layer in (network.conv1[0], network.fc):
        nn.init.normal_(layer.weight)
        initial(file).require_filled(network)
    nn.init.normal_(network.layer1[0].conv1.weight)
    with pytest.raises(Hep2ganError, match="weights must be of the same architecture"):
        initial(file).require_filled(network)


def test_what_timm_raises_is_explained_and_its_logger_left_as_it_was(tmp_path):
    logger = logging.getLogger("timm.models._builder")
    logger.setLevel(logging.INFO)
    levels = []

    def fail(weights):
        with weights.explain_errors():
            levels.append(logger.level)
            raise RuntimeError("one\n\ttwo")

    with pytest.raises(Hep2ganError, match=rf"cannot be built from \S+ \(one two\)\. {FIX}"):
        fail(initial(tmp_path / "x.pth"))
    assert [*levels, logger.level] == [logging.ERROR, logging.INFO]
    with pytest.raises(Hep2ganError, match=r"choose another classifier\.backbone"):
        fail(initial())
    logger.setLevel(logging.NOTSET)


def test_weights_in_the_cache_need_no_hub(unreachable_hub, monkeypatch):
    with pytest.raises(Hep2ganError, match="not in the cache"):
        pretrained.require_timm_weights("resnet50.tv_in1k", "x")
    asked = []

    def cached(repository, file, revision):
        asked.append((repository, file, revision))
        return "/somewhere" if file == "pytorch_model.bin" else None

    monkeypatch.setattr(pretrained, "try_to_load_from_cache", cached)
    pretrained.require_timm_weights("resnet50.tv_in1k", "x")
    assert asked == [("timm/resnet50.tv_in1k", file, None) for file in pretrained.FILES]


def test_a_reachable_hub_is_asked_once_and_briefly(monkeypatch):
    asked = []

    class Session:
        def head(self, url, timeout):
            asked.append((url, timeout))

    monkeypatch.setattr(pretrained, "get_session", Session)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *a, **k: None)
    pretrained.require_timm_weights("xception65.tf_in1k", "x")
    assert asked == [(pretrained.constants.ENDPOINT, 5.0)]


def test_models_without_published_weights_are_told():
    with pytest.raises(Hep2ganError, match="efficientnet_b6 has no pretrained weights"):
        pretrained.require_timm_weights("efficientnet_b6", "x")


@pytest.mark.parametrize(
    ("image_channels", "guided"), [(1, True), (1, False), (3, True), (3, False)]
)
def test_kernels_by_hand(image_channels, guided):
    rgb = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
    kernel = with_mask_channel(rgb, image_channels, guided)
    grey = [7.0] if image_channels == 1 else [1.0, 2.0, 4.0]
    assert kernel.flatten().tolist() == grey + [0.0] * guided


def test_networks_whose_first_layer_cannot_be_adapted_are_refused():
    standardised = timm.create_model("resnetv2_50", conv_layer=timm.layers.StdConv2d, num_classes=0)
    with pytest.raises(Hep2ganError, match="StdConv2d, not a plain convolution"):
        adapt_first_convolution(standardised, 1, guided=True)
    with pytest.raises(Hep2ganError, match="takes 2 channels"):
        adapt_first_convolution(timm.create_model("resnet10t", in_chans=2), 1, guided=True)
    with pytest.raises(Hep2ganError, match="not known to timm"):
        adapt_first_convolution(nn.Linear(2, 2), 1, guided=True)


def test_home_folder_in_a_file_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(as_path("~/x.pth")) == "/home/someone/x.pth"
    assert as_path(None) is None
