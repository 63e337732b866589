"""The paper's own networks and sizes, for a few steps."""

import json

import pytest

from hep2gan.cli import train
from hep2gan.runs.checkpoints import read_checkpoint
from tests.helpers.commands import call


@pytest.mark.slow
def test_the_papers_configuration_trains_and_tests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("data=phantom", "data.count=60", "pretrained=false", "trainer.max_epochs=1")
    assert call(train, *options, "trainer.limit_train_batches=2") == 0
    run = tmp_path / "runs/default/proposed/seed0"
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 <= metrics["test/dice"] <= 1
    state = read_checkpoint(run / "checkpoints/epoch0001.ckpt")["state_dict"]
    sizes = {
        part: sum(
            v.numel() for k, v in state.items() if k.startswith(part) and ".running_" not in k
        )
        for part in ("generator", "discriminator", "classifier.")
    }
    # Xception-65 in DeepLabv3+, PatchGAN 70, ResNet-50 with two input channels and six outputs.
    assert sizes["generator"] == pytest.approx(41.0e6, rel=0.01)
    assert sizes["discriminator"] == pytest.approx(2.77e6, rel=0.01)
    assert sizes["classifier."] == pytest.approx(23.5e6, rel=0.01)
    assert state["classifier.backbone.conv1.weight"].shape == (64, 2, 7, 7)
    assert state["classification_loss.gaussian_mixture.means"].shape == (6, 2048)
