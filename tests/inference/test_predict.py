import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.data.readers.image import resize, stretch
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.predict import BackendOutput, Predictor, find_images, map_ordered
from hep2gan.models.guidance import MaskGuidance
from hep2gan.reports.figures.overlay import overlay
from hep2gan.training.devices import resolve_device
from tests.helpers import tiny


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
    task = tiny.task(segment=False, guidance=MaskGuidance(source="ground_truth"))
    with pytest.raises(Hep2ganError, match="trained with true masks"):
        TorchBackend(task, Normalisation(), torch.device("cpu"))


def test_devices_are_named():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(Hep2ganError, match="choose from auto, cpu, gpu"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(Hep2ganError, match=r"no GPU.*accelerator=cpu"):
            resolve_device("gpu")


def engine(image, levels):
    """The mask is the image, the probabilities its first pixel's."""
    chance = image[:, 0, :1].astype(np.float32) / 255
    return BackendOutput(image.astype(np.float32) / 255, np.concatenate([chance, 1 - chance], 1))


def predicted(count, batch_size, calls=None, **given):
    def counting(image, levels):
        assert levels.shape == (len(image), 2)
        if calls is not None:
            calls.append(len(image))
        return engine(image, levels)

    rng = np.random.default_rng(1)
    for number in range(count):
        Path("many").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (9 + number % 3, 8), np.uint8)
        Image.fromarray(pixels).save(f"many/{number:03d}.png")
    for number in range(0, count, 7):
        Path(f"many/{number:03d}.png").write_bytes(b"nothing")
    seen = []
    report = Predictor(engine if calls is None else counting, "ab", 16).predict(
        find_images(["many"]),
        Path("out"),
        batch_size=batch_size,
        white_level=None,
        overlays=True,
        progress=lambda done, total: seen.append((done, total)),
        **given,
    )
    return report, seen


def test_rows_and_problems_keep_the_order_of_the_files():
    report, seen = predicted(40, 4)
    assert [p.split(" ")[0] for p in report.problems] == [
        f"many/{n:03d}.png" for n in range(0, 40, 7)
    ]
    with Path("out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [f"many/{n:03d}.png" for n in range(40) if n % 7]
    assert [row["image"] for row in rows] == names
    assert report.done == len(names) == 34
    assert seen[-1] == (40, 40)
    assert sorted(seen) == seen


def test_batches_are_of_so_many_files_whatever_can_be_read():
    calls = []
    predicted(10, 4, calls)
    assert calls == [3, 3, 2]


def test_each_file_gets_its_own_mask_and_overlay():
    predicted(5, 2)
    for number in range(1, 5):
        with Image.open(f"many/{number:03d}.png") as image:
            pixels = np.asarray(image)
        stored = stretch(resize(pixels.astype(np.float32), 16))[0]
        soft = Image.fromarray(stored.astype(np.float32) / 255)
        hard = np.asarray(soft.resize(pixels.shape[::-1], Image.Resampling.BILINEAR)) >= 0.5
        mask = np.asarray(Image.open(f"out/masks/{number:03d}.png"))
        assert np.array_equal(mask, hard * np.uint8(255))
        drawn = np.asarray(Image.open(f"out/overlays/{number:03d}.png"))
        assert np.array_equal(drawn, overlay(stretch(pixels.astype(np.float32))[0], mask))


def test_only_some_images_are_held_at_once():
    done, started = [], []

    def work(item):
        done.append(item)
        return item

    def items():
        for item in range(100):
            started.append(item)
            yield item

    with ThreadPoolExecutor(2) as pool:
        results = map_ordered(pool, work, items(), ahead=5)
        assert [next(results) for _ in range(10)] == list(range(10))
        assert len(started) == 15
        results.close()
    assert len(done) <= 15


def test_an_error_of_writing_ends_the_prediction(monkeypatch):
    Path("out").touch()
    with pytest.raises(OSError, match="out"):
        predicted(40, 4)
    assert Path("out").read_bytes() == b""
