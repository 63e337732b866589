"""Label images and masks of fields: what is read, what is refused, and which file is whose."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from hep2gan.data.fields.labels import LabelFinder, read_labels, split_labels
from hep2gan.data.readers.files import list_files
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import save

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:6, 3:9] = 1
LABELS[2:6, 9:14] = 2  # touches cell 1
LABELS[10:18, 20:28] = 700
MASK = np.uint8(255) * (LABELS > 0)


def refused(path, *words, **options):
    with pytest.raises(Hep2ganError) as caught:
        read_labels(path, **options)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32"])
def test_numbers_stay_as_they_are(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS.astype(dtype), compression=None)
    found = read_labels(path, (20, 30))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, LABELS)


def test_png_of_8_and_16_bits_and_indices_of_a_palette(tmp_path):
    np.testing.assert_array_equal(read_labels(save(LABELS, tmp_path / "a.png")), LABELS)
    small = (LABELS % 250).astype(np.uint8)
    np.testing.assert_array_equal(read_labels(save(small, tmp_path / "b.png")), small)
    image = Image.fromarray(small, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "c.png"), small)


def test_the_pieces_of_a_mask_are_cells(tmp_path):
    expected = np.zeros(LABELS.shape, int)
    expected[2:6, 3:14], expected[10:18, 20:28] = 1, 2
    colours = np.repeat(MASK[..., None], 3, 2)
    for name, pixels in (("a.png", MASK), ("b.png", MASK // 255), ("c.bmp", colours)):
        np.testing.assert_array_equal(read_labels(save(pixels, tmp_path / name)), expected)
    inverted = save(255 - MASK, tmp_path / "i.png")
    np.testing.assert_array_equal(read_labels(inverted, invert=True), expected)
    refused(inverted, "data.invert_masks=true")
    refused(tmp_path / "a.png", "data.invert_masks=false", invert=True)
    corner = np.zeros((9, 9), np.uint8)
    corner[1:4, 1:4] = corner[4:6, 4:6] = 255
    assert read_labels(save(corner, tmp_path / "d.png")).max() == 1


def test_a_jpeg_is_a_mask_or_nothing(tmp_path):
    large = np.kron(MASK, np.ones((8, 8), np.uint8))
    found = read_labels(save(large, tmp_path / "a.jpg"))
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, large > 0)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    refused(save(ramp, tmp_path / "b.jpg"), "black and white")


def test_a_label_image_without_cells_is_zeros(tmp_path):
    assert not read_labels(save(LABELS * 0, tmp_path / "a.png"), (20, 30)).any()


def test_what_is_no_label_image_is_refused(tmp_path):
    refused(save(LABELS, tmp_path / "size.png"), "30 × 20", "40 × 20", shape=(20, 40))
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    refused(save(noise, tmp_path / "colours.png"), "colours", "astype('uint16')")
    refused(save(noise[..., 0], tmp_path / "photo.png"), "separate pieces", "photograph")
    tifffile.imwrite(tmp_path / "float.tif", LABELS.astype(np.float32))
    refused(tmp_path / "float.tif", "floating point", "astype('uint16')")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([LABELS] * 3), photometric="minisblack")
    refused(tmp_path / "stack.tif", "one plane", "16-bit grey")
    below = LABELS.astype(np.int16)
    below[0, 0] = -1
    tifffile.imwrite(tmp_path / "below.tif", below)
    refused(tmp_path / "below.tif", "holds -1")
    large = LABELS.astype(np.uint32)
    large[0, 0] = 2**31 + 5
    tifffile.imwrite(tmp_path / "large.tif", large)
    refused(tmp_path / "large.tif", "2,147,483,653", "relabel_sequential")


def test_a_map_of_classes_is_refused_and_cells_in_pieces_are_not(tmp_path):
    grid = np.zeros((200, 200), np.uint8)
    for number in range(100):
        y, x = divmod(number, 10)
        grid[20 * y + 3 : 20 * y + 15, 20 * x + 3 : 20 * x + 15] = 1 + number % 6
    refused(save(grid, tmp_path / "a.png"), "6 numbers in 100 separate pieces", "map of classes")
    torn = LABELS.copy()
    torn[12] = 0
    np.testing.assert_array_equal(read_labels(save(torn, tmp_path / "b.png")), torn)


@pytest.mark.parametrize(
    "name",
    ["1_labels.png", "1_Labels.tif", "1_mask.bmp", "1_Mask.tif", "1-mask.png", "labels/1.png",
     "Masks/1.tif", "labels/1_labels.png", "masks/1_mask.png"],
)  # fmt: skip
def test_the_label_image_beside_a_field_is_found(tmp_path, name):
    field = save(LABELS, tmp_path / "1.png")
    save(LABELS, tmp_path / "11_labels.png")
    assert LabelFinder().find(field) is None
    place = save(LABELS if name.endswith("g") or "tif" in name else MASK, tmp_path / name)
    assert LabelFinder().find(field) == place


def test_labels_come_before_masks_and_two_are_refused(tmp_path):
    field = save(LABELS, tmp_path / "1.png")
    save(MASK, tmp_path / "1_mask.png")
    labels = save(LABELS, tmp_path / "1_labels.png")
    assert LabelFinder().find(field) == labels
    save(LABELS, tmp_path / "1_labels.tif")
    with pytest.raises(Hep2ganError, match="2 label images"):
        LabelFinder().find(field)


def test_a_pattern_names_them(tmp_path):
    field = save(LABELS, tmp_path / "a.b.tif")
    save(LABELS, tmp_path / "a.b_labels.png")
    masks = save(LABELS, tmp_path / "a.b_cp_masks.png")
    assert LabelFinder("*_cp_masks").find(field) == masks
    assert LabelFinder("*_cp_masks.png").find(field) == masks
    other = save(LABELS, tmp_path / "seg" / "a.b.png")
    assert LabelFinder("*_none").find(field) is None
    assert LabelFinder("*").find(field) is None
    assert LabelFinder("seg/*").find(field) == other
    for wrong in ("labels", "{name}_labels", "../*", "*_*", "/seg/*"):
        with pytest.raises(Hep2ganError, match=r"labels=\*_labels"):
            LabelFinder(wrong)


def test_fields_are_told_from_label_images(tmp_path):
    for name in ("1.png", "1_labels.png", "2.png", "2_Mask.tif", "labels/1.png", "3.bmp"):
        save(LABELS if name != "3.bmp" else MASK, tmp_path / name)
    fields, labels = split_labels(list_files(tmp_path))
    assert [path.name for path in fields] == ["1.png", "2.png", "3.bmp"]
    assert [path.name for path in labels] == ["1_labels.png", "2_Mask.tif"]
    assert split_labels(list_files(tmp_path / "labels")) == ([], [tmp_path / "labels" / "1.png"])
