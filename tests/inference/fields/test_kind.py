from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.inference.fields.kind import sort_inputs
from hep2gan.inference.predict import InputImage
from hep2gan.runs.folder import CropGeometry

CROPS = CropGeometry(largest=20, smallest=10, median=15, margin=3, nucleus=9.0)


@pytest.fixture
def images(tmp_path):
    sizes = {"limit.png": (60, 9), "over.png": (9, 61), "cell.tif": (20, 20)}
    for name, size in sizes.items():
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    names = [*sizes, "broken.png"]
    return {Path(name).stem: InputImage(tmp_path / name, Path(Path(name).stem)) for name in names}


def names(found):
    return [image.name.name for image in found]


def test_longer_than_three_crops_is_a_field(images):
    found = sort_inputs(list(images.values()), "auto", CROPS)
    assert names(found.crops) == ["limit", "cell", "broken"]
    assert names(found.fields) == ["over"]
    assert "1 image taken for a field of cells, 3 images for one cell each" in found.reason
    assert "3 × 20 px" in found.reason


def test_crops_alone_need_no_words(images):
    assert sort_inputs([images["cell"]], "auto", CROPS) == ([images["cell"]], [], "")


def test_what_cannot_be_read_goes_with_the_others(images):
    found = sort_inputs([images["over"], images["broken"]], "auto", CROPS)
    assert names(found.fields) == ["over", "broken"]


def test_the_user_knows_better(images):
    every = list(images.values())
    assert sort_inputs(every, "crop", CROPS) == (every, [], "")
    assert sort_inputs(every, "field", CROPS).fields == every
    assert "input=field" in sort_inputs(every, "field", CROPS).reason


def test_a_run_that_does_not_know_its_crops(images):
    every = list(images.values())
    assert sort_inputs(every, "auto", None) == (every, [], "")
    with pytest.raises(Hep2ganError, match="does not say how large") as caught:
        sort_inputs(every, "field", None)
    assert "train it again" in caught.value.fix
