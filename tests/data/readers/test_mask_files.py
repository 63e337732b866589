"""Masks beside the images, in a folder of their own, or none."""

import shutil
from pathlib import Path

import pytest

from hep2gan.data.readers.icpr2016 import Icpr2016Source
from hep2gan.data.readers.manifest import ManifestSource
from hep2gan.data.readers.mask_files import choose_masks
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import folders, write_csv


def chosen(source):
    return choose_masks(source.read(), source)


def by_class(root, **given):
    return Icpr2016Source(name="set", root=str(root), store="store", **given)


def table(root, *images, **given):
    root.mkdir(exist_ok=True)
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).touch()
    write_csv(root / "manifest.csv", [["image", "label"], *([image, "x"] for image in images)])
    return ManifestSource(name="set", root=str(root), store="store", **given)


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_masks_stay_as_they_were_read_or_are_left_out(tmp_path):
    root = folders(tmp_path / "set")
    assert chosen(by_class(root)).cells == by_class(root).read().cells
    without = chosen(by_class(root, masks=False))
    assert not without.has_masks
    assert [cell.image for cell in without.cells] == [c.image for c in by_class(root).read().cells]


def test_masks_lie_in_another_folder_as_their_images_do(tmp_path):
    root, masks = folders(tmp_path / "set"), tmp_path / "drawn"
    with_masks = by_class(root).read().cells
    for mask in list(root.rglob("*_Mask.png")):
        moved = masks / mask.relative_to(root)
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(mask, moved)
    assert not by_class(root).read().has_masks
    found = chosen(by_class(root, masks=str(masks))).cells
    assert [c.mask for c in found] == [masks / c.mask.relative_to(root) for c in with_masks]


@pytest.mark.parametrize("name", ["1.png", "1_Mask.png", "1-mask.TIF", "1.tiff"])
def test_a_mask_bears_the_name_of_its_image(tmp_path, name):
    source = table(tmp_path / "set", "a/1.tif", "a/2.tif", masks=str(tmp_path / "drawn"))
    touch(tmp_path / "drawn/a" / name, tmp_path / "drawn/1.png", tmp_path / "drawn/b/2.png")
    assert [c.mask for c in chosen(source).cells] == [tmp_path / "drawn/a" / name, None]


def test_images_that_differ_in_their_suffix_alone_have_masks_of_their_own(tmp_path):
    masks = tmp_path / "drawn"
    source = table(tmp_path / "set", "1.png", "1.tif", "2.png", masks=str(masks))
    names = ("1.png_Mask.png", "1.tif_Mask.png", "2_Mask.png")
    touch(*(masks / name for name in names))
    assert [c.mask.name for c in chosen(source).cells] == list(names)


def test_an_image_is_not_its_own_mask(tmp_path):
    source = table(tmp_path / "set", "1.png", "2.png", masks=str(tmp_path / "set"))
    touch(tmp_path / "set/1_Mask.png")
    assert [c.mask for c in chosen(source).cells] == [tmp_path / "set/1_Mask.png", None]


def test_a_table_is_named_by_its_file_too(tmp_path):
    table(tmp_path / "set", "1.png")
    touch(tmp_path / "drawn/1.png")
    source = ManifestSource(
        name="set",
        root=str(tmp_path / "set/manifest.csv"),
        store="s",
        masks=str(tmp_path / "drawn"),
    )
    assert chosen(source).cells[0].mask == tmp_path / "drawn/1.png"


def test_a_folder_without_masks_of_these_cells_is_refused(tmp_path):
    source = table(tmp_path / "set", "1.png", masks=str(tmp_path / "drawn"))
    with pytest.raises(Hep2ganError, match=r"drawn does not exist.*data\.masks"):
        chosen(source)
    # What hep2gan-predict writes beside its table lies a folder deeper.
    touch(tmp_path / "drawn/masks/1.png")
    with pytest.raises(Hep2ganError, match="drawn holds no mask of these cells"):
        chosen(source)
