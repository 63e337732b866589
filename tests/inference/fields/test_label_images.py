import numpy as np
import skimage.io

from hep2gan.data.fields.regions import find_regions
from hep2gan.inference.fields.label_images import generated_labels, save_labels
from hep2gan.inference.fields.predictor import FieldResult


def test_16_bits_hold_65535_cells(tmp_path):
    labels = np.arange(65_536, dtype=np.int32).reshape(256, 256)
    path = save_labels(tmp_path / "a/b.c", labels)
    assert path == tmp_path / "a/b.c.png"
    read = skimage.io.imread(path)
    assert read.dtype == np.uint16
    assert np.array_equal(read, labels)


def test_more_cells_need_32_bits_and_leave_no_other_file(tmp_path):
    save_labels(tmp_path / "x", np.ones((2, 2), np.int32))
    path = save_labels(tmp_path / "x", np.array([[0, 65_536]], np.int32))
    assert [each.name for each in tmp_path.iterdir()] == ["x.tif"]
    read = skimage.io.imread(path)
    assert (read.dtype.itemsize, read.tolist()) == (4, [[0, 65_536]])
    save_labels(tmp_path / "x", np.ones((2, 2), np.int32))
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


def test_generated_masks_lie_where_their_cells_do():
    labels = np.array([[1, 1, 0, 2, 0, 0]], np.int32)
    # Each mask has all of its crop: also the neighbour, and background that both want.
    boxes = [(0, 0, 1, 4), (0, 1, 1, 5)]
    masks = [np.ones((1, 4), np.uint8), np.array([[0, 1, 1, 1]], np.uint8)]
    result = FieldResult(find_regions(labels), boxes, None, None, masks)
    assert generated_labels(labels, result).tolist() == [[1, 1, 1, 2, 2, 0]]
