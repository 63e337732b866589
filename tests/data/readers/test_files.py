"""What counts as an image: masks in any spelling, hidden files, systems' own, other kinds."""

import os
import unicodedata
from pathlib import Path

import pytest

from hep2gan.data.readers.files import FileFinder, describe_others, list_files, walk_files


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("1_Mask.png", "1"),
        ("1_mask.PNG", "1"),
        ("1_MASK.tif", "1"),
        ("1-mask.tiff", "1"),
        ("1 mask.png", "1"),
        ("1.mask.png", "1"),
        ("1mask.png", "1"),
        ("1_masks.png", "1"),
        ("mask_1.png", "1"),
        ("Mask 1.png", "1"),
        ("Zelle_ä_Mask.png", "Zelle_ä"),
        ("mask.png", ""),
    ],
)
def test_masks_are_told_by_the_word_in_any_spelling(tmp_path, name, stem):
    found = list_files(touch(tmp_path, name))
    assert found.masks == {tmp_path / name: stem}
    assert found.images == []


@pytest.mark.parametrize("name", ["masked.png", "1_CellMask.png", "damask-3.tif", "1_m.png"])
def test_other_words_are_no_masks(tmp_path, name):
    assert list_files(touch(tmp_path, name)).images == [tmp_path / name]


@pytest.mark.parametrize("ending", ["_m", "-seg", "_GT", "_label", "_labels"])
def test_shorter_endings_are_masks_beside_their_image_alone(tmp_path, ending):
    touch(tmp_path, "1.png", f"1{ending}.tif", f"2{ending}.png")
    found = list_files(tmp_path)
    assert found.masks == {tmp_path / f"1{ending}.tif": "1"}
    assert [path.name for path in found.images] == ["1.png", f"2{ending}.png"]


def test_hidden_files_and_a_systems_own_are_left_out(tmp_path):
    touch(
        tmp_path,
        *("1.png", "._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.tif"),
        *(".ipynb_checkpoints/1-checkpoint.png", "__MACOSX/._1.png", "@eaDir/1.png/THUMB_M.png"),
        *("$RECYCLE.BIN/2.png", ".Trashes/3.png"),
    )
    found = list(walk_files(tmp_path))
    assert [files.path for files in found] == [tmp_path]
    assert found[0].images == [tmp_path / "1.png"]
    assert found[0].others == []


def test_other_kinds_are_told_and_tables_are_not(tmp_path):
    touch(tmp_path, "4.gif", "5.PPM", "6.ppm", "7.czi", "labels.csv", "readme.md", "README")
    assert describe_others(list_files(tmp_path).others) == (
        "5 files of kinds that are not read"
        " (.czi, .gif, .ppm, without suffix; PNG, TIFF, BMP and JPEG are)"
    )
    assert describe_others([]) == ""


def test_all_below_a_folder_of_masks_or_overlays_is_no_image(tmp_path):
    touch(tmp_path, "images/a/1.png", "masks/a/1.png", "Mask/1.png", "out/overlays/deep/1.png")
    images = [path for files in walk_files(tmp_path) for path in files.images]
    assert images == [tmp_path / "images/a/1.png"]
    # What is named itself is meant.
    assert next(walk_files(tmp_path / "Mask")).images == [tmp_path / "Mask/1.png"]


def test_folders_called_like_images_are_folders_and_broken_links_are_files(tmp_path):
    touch(tmp_path, "1.png/2.png")
    (tmp_path / "3.png").symlink_to("gone.png")
    (tmp_path / "4.png").symlink_to("4.png")
    found = list(walk_files(tmp_path))
    names = [path.relative_to(tmp_path).as_posix() for files in found for path in files.images]
    assert names == ["3.png", "4.png", "1.png/2.png"]


def test_linked_folders_are_entered_once(tmp_path):
    touch(tmp_path, "set/1.png", "far/2.png")
    (tmp_path / "set" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "set")
    images = [path.name for files in walk_files(tmp_path / "set") for path in files.images]
    assert images == ["1.png", "2.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PermissionError):
        list(walk_files(tmp_path))


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("Zelle_ä.png", unicodedata.normalize("NFD", "Zelle_ä.png")),
        (unicodedata.normalize("NFD", "Zelle_ä.png"), "Zelle_ä.png"),
        (unicodedata.normalize("NFD", "é/ü.png"), "é/ü.png"),
        ("images/c3.png", "images\\c3.png"),
        ("images/c3.png", "Images\\C3.PNG"),
        ("c3.PNG", "c3.png"),
        ("a\\b.png", "a\\b.png"),
    ],
)
def test_names_in_tables_are_found_as_windows_and_macos_find_them(tmp_path, stored, written):
    touch(tmp_path, stored)
    assert FileFinder(tmp_path).find(written) == tmp_path / stored


def test_the_exact_name_goes_first_and_of_two_others_none_is_taken(tmp_path):
    touch(tmp_path, "a.png", "A.png", "b.PNG", "B.png")
    finder = FileFinder(tmp_path)
    assert finder.find("A.png") == tmp_path / "A.png"
    assert finder.find("b.png") == tmp_path / "b.png"
    assert finder.find("gone/x\\y.png") == tmp_path / "gone" / "x" / "y.png"
    assert finder.find("n" * 5000) == tmp_path / ("n" * 5000)
    assert isinstance(finder.find("x"), Path)
