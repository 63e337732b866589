"""The benchmark of prediction: the plain loop writes what hep2gan-predict writes."""

import csv

import numpy as np
import torch
from PIL import Image

from experiments.benchmarks.plain_prediction import predict_file_by_file
from hep2gan.data.phantom.generate import generate_cells
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.inference.predict import Predictor, find_images
from hep2gan.inference.torch_backend import TorchBackend
from tests.helpers import tiny


def test_the_plain_loop_writes_the_same_masks_overlays_and_rows(tmp_path):
    cells = tmp_path / "cells"
    cells.mkdir()
    for cell in generate_cells(9, 0):
        Image.fromarray(cell.image).save(cells / f"{cell.id}.png")
    task, images = tiny.task().eval(), find_images([str(cells)])
    files = [image.path for image in images]
    parts = (task.generator, task.classifier, "abc", 16, files)
    predict_file_by_file(*parts, tmp_path / "plain")
    engine = TorchBackend(task, Normalisation(), torch.device("cpu"))
    Predictor(engine, "abc", 16).predict(
        images, tmp_path / "ours", batch_size=4, white=None, overlays=True, progress=lambda *_: None
    )
    rows = []
    for name in ("plain", "ours"):
        with (tmp_path / name / "predictions.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
    for one, other in zip(*rows, strict=True):
        assert list(one) == list(other)
        assert (one["image"], one["predicted"]) == (other["image"], other["predicted"])
        for key in ("a", "b", "c", "mask_share"):
            assert abs(float(one[key]) - float(other[key])) < 1e-5
    pictures = sorted(path.relative_to(tmp_path / "ours") for path in tmp_path.glob("ours/*/*.png"))
    assert len(pictures) == 2 * len(files)
    for picture in pictures:
        pixels = [np.asarray(Image.open(tmp_path / name / picture)) for name in ("plain", "ours")]
        assert np.array_equal(*pixels)
