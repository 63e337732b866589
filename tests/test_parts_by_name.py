"""A module of a user's own adds a part of each kind by name, without a change to the package."""

import csv
import sys

import pytest
import yaml

from hep2gan.cli import evaluate, train
from hep2gan.cli.local import run_settings
from hep2gan.config import config_errors
from tests.helpers.commands import call
from tests.helpers.configs import composed
from tests.helpers.started import NETS

MYLAB = '''
from typing import ClassVar

import lightning as L
import torch
from torch import nn

from hep2gan.data.phantom.generate import write_phantom
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.source import DataSource
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.settings import PositiveInt, Probability
from hep2gan.training.module import SegmentationGuidedClassification

USED = {}


class PowerLoss(nn.Module):
    """Args:
        power: of the difference.
    """

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, generated, truth):
        USED["pixel"] = self.power
        return {"power": (generated - truth).abs().pow(self.power).mean()}


class Darker(Augmentation):
    darken: Probability = 0.0

    def augment(self, image, *args, **kwargs):
        USED["augmentation"] = self.darken
        image, mask = super().augment(image, *args, **kwargs)
        return image * (1 - self.darken), mask


class Counter(L.Callback):
    def __init__(self, step: int = 1) -> None:
        self.step = step

    def on_train_batch_end(self, *args):
        USED["callback"] = USED.get("callback", 0) + self.step


class Task(SegmentationGuidedClassification):
    def training_step(self, batch, batch_idx):
        USED["task"] = batch_idx
        return super().training_step(batch, batch_idx)


class Cells(DataSource):
    is_generated: ClassVar[bool] = True
    cells: PositiveInt = 1

    def read(self, workers=None):
        USED["data"] = self.cells
        write_phantom(self.folder, self.cells, 0, workers=workers)
        return read_icpr2016(self.folder)._replace(published_counts=None)
'''
SMALL = (
    "split.test_fraction=0.2", "scale=laptop", "data.size=32", "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
)  # fmt: skip
PHANTOM = ("data=phantom", "data.count=60")
PARTS = {
    "loss.pixel": ("loss.pixel._target_=mylab.PowerLoss", "+loss.pixel.power=3.0"),
    "augmentation": ("augmentation._target_=mylab.Darker", "+augmentation.darken=0.25"),
    "callbacks.mine": ("+callbacks.mine._target_=mylab.Counter", "+callbacks.mine.step=2"),
    "task": ("task._target_=mylab.Task",),
}
READER = ("data.root=raw", "data.name=mine", "data._target_=mylab.Cells", "+data.cells=60")
TRUSTED = "trusted=[mylab,tests.integration.nets]"
RUN = "runs/default/proposed/seed0"


@pytest.fixture(autouse=True)
def mylab(tmp_path, monkeypatch):
    """The user's module, in the folder that commands work in."""
    (tmp_path / "mylab.py").write_text(MYLAB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mylab", None)


def columns(folder):
    with (folder / RUN / "metrics.csv").open() as file:
        return next(csv.reader(file))


def test_a_loss_an_augmentation_a_callback_and_a_task(mylab):
    own = [override for part in PARTS.values() for override in part]
    assert call(train, *PHANTOM, *SMALL, *NETS, *own, TRUSTED) == 0
    used = sys.modules["mylab"].USED
    batches = used["task"] + 1
    assert batches > 1
    assert used == {
        "pixel": 3.0,
        "augmentation": 0.25,
        "callback": 2 * batches,
        "task": batches - 1,
    }
    assert "train/generator/power" in columns(mylab)
    assert any(name.startswith("health/") for name in columns(mylab))
    config = yaml.safe_load((mylab / RUN / "config.yaml").read_text())
    assert config["loss"]["pixel"] == {"_target_": "mylab.PowerLoss", "power": 3.0}
    assert config["augmentation"]["_target_"] == "mylab.Darker"
    assert config["augmentation"]["darken"] == 0.25
    assert config["callbacks"]["mine"] == {"_target_": "mylab.Counter", "step": 2}
    assert config["task"] == {"_target_": "mylab.Task"}
    assert call(evaluate, RUN, "figures=false", "accelerator=cpu", TRUSTED) == 0


def test_a_reader_and_a_training_without_the_collapse_monitor(mylab):
    assert call(train, *READER, *SMALL, *NETS, TRUSTED, "callbacks.collapse=null") == 0
    assert sys.modules["mylab"].USED["data"] == 60
    config = yaml.safe_load((mylab / RUN / "config.yaml").read_text())
    assert (config["data"]["_target_"], config["data"]["cells"]) == ("mylab.Cells", 60)
    assert config["callbacks"]["collapse"] is None
    assert not any(name.startswith("health/") for name in columns(mylab))


@pytest.mark.parametrize(("key", "overrides"), [*PARTS.items(), ("data", READER)])
def test_each_is_refused_without_trust(key, overrides):
    ((place, error),) = config_errors(run_settings(composed("train", *overrides))).items()
    assert place == f"{key}._target_"
    assert "mylab." in error.fact
    assert "trusted=[PACKAGE]" in error.fix
    assert "mylab" not in sys.modules


def test_the_command_refuses_all_of_them_in_one_list(capsys):
    own = [override for part in PARTS.values() for override in part]
    assert call(train, *PHANTOM, *SMALL, *NETS, *own, "trainer.compile=reduce-overhead") == 2
    told = capsys.readouterr().err
    for key in PARTS:
        assert f"{key}._target_ is 'mylab." in told
    assert "CUDA graphs need a GPU" in told
    assert "mylab" not in sys.modules


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+loss.pixel.pwer=3.0", "use loss.pixel.power="),
        ("+augmentation.darken=2.0", "augmentation.darken is 2.0"),
        ("+callbacks.mine.step=many", "callbacks.mine.step is 'many'"),
    ],
)
def test_their_arguments_are_checked_as_ours_are(override, told):
    parts = [part[0] for part in PARTS.values()]
    values = run_settings(composed("train", *parts, override))
    (error,) = config_errors(values, ["mylab"]).values()
    assert told in str(error)


@pytest.mark.parametrize(
    ("key", "base"), [("data", "DataSource"), ("augmentation", "Augmentation")]
)
def test_a_class_of_another_kind_is_refused(key, base):
    values = run_settings(composed("train", f"{key}._target_=mylab.PowerLoss"))
    error = config_errors(values, ["mylab"])[f"{key}._target_"]
    assert f"it must be a subclass of {base}" in str(error)
    assert error.fix
