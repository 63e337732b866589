from pathlib import Path

import pytest
import torch

from hep2gan.data.normalise import Normalisation
from hep2gan.devices import device
from hep2gan.errors import Hep2ganError
from hep2gan.guidance import Guidance
from hep2gan.image_files import find_images
from hep2gan.torch_engine import TorchEngine
from tests import tiny


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "a/1_Mask.png", "a/deep/2.TIF", "a/notes.txt", "b/1.png", "c/x.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_folders_are_searched_and_masks_left_out():
    found = [(str(f.path), str(f.name)) for f in find_images(["a"])]
    assert found == [("a/1.png", "1"), ("a/deep/2.TIF", "deep/2")]


def test_a_file_named_is_taken_whatever_its_name():
    assert [str(f.name) for f in find_images(["a/1_Mask.png"])] == ["1_Mask"]


def test_the_same_file_twice_is_one_image():
    assert len(find_images(["a/1.png", "a/1.png"])) == 1


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["a", "b"], r"a/1.png and b/1.png would both be written as 1"),
        (["c"], r"no images in c.*png"),
        (["gone"], "gone does not exist"),
    ],
)
def test_inputs_that_cannot_be_predicted(inputs, words):
    with pytest.raises(Hep2ganError, match=words):
        find_images(inputs)


def test_runs_that_need_true_masks_cannot_predict():
    task = tiny.task(segment=False, guidance=Guidance("ground_truth"))
    with pytest.raises(Hep2ganError, match="trained with true masks"):
        TorchEngine(task, Normalisation(), torch.device("cpu"))


def test_devices_are_named():
    assert device("cpu").type == "cpu"
    with pytest.raises(Hep2ganError, match="choose from auto, cpu, gpu"):
        device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(Hep2ganError, match=r"no GPU.*accelerator=cpu"):
            device("gpu")
