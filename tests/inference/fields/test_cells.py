from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.fields.labels import LabelFinder
from hep2gan.errors import Hep2ganError
from hep2gan.inference.fields.cells import FOUND, CellSource

IMAGE = np.zeros((6, 8), np.float32)


class Finder:
    def __init__(self, labels):
        self.labels, self.diameters = labels, []

    def find(self, image, diameter):
        self.diameters.append(diameter)
        return self.labels


def source(labels):
    return CellSource(LabelFinder(), Finder(labels), 12.5)


def test_a_label_image_comes_before_what_finds_cells(tmp_path):
    labels = np.zeros((6, 8), np.uint16)
    labels[1:3, 1:3], labels[4, 4:6] = 5, 9
    Image.fromarray(labels).save(tmp_path / "1_labels.png")
    found = source(labels * 0).of(tmp_path / "1.png", IMAGE)
    assert found.origin == str(tmp_path / "1_labels.png")
    assert np.array_equal(found.labels, labels)


def test_a_finder_knows_the_usual_diameter(tmp_path):
    finds = source(np.ones((6, 8), np.uint8))
    found = finds.of(tmp_path / "1.png", IMAGE)
    assert (found.origin, found.labels.dtype, found.labels.sum()) == (FOUND, np.int32, 48)
    assert finds._finder.diameters == [12.5]


@pytest.mark.parametrize(
    "labels", [np.ones((6, 8)), np.ones((8, 6), np.int32), np.full((6, 8), -1)]
)
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(Hep2ganError, match=r"Finder returned .* for 1\.png") as caught:
        source(labels).of(Path("1.png"), IMAGE)
    assert "find" in caught.value.fix
