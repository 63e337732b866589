import numpy as np
import pytest

from hep2gan.data.patterns import COUNTS
from hep2gan.data.readers.folders import _published_counts, read_folders
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import KINDS, NAMES, class_folders, draw, save, write_csv

CLASSES = ("AC-1", "Rods", "fine speckled")
LABELS = [0] * 4 + [2] * 4 + [1] * 4
PARTS = [1 if n % 4 == 2 else 2 if n % 4 == 3 else 0 for n in range(1, 13)]


def split_of(n):
    return {0: "train", 1: "val", 2: "test"}[PARTS[n - 1]]


def name_of(n):
    return KINDS[(n - 1) // 4]


@pytest.mark.parametrize(
    ("pattern", "mask", "said"),
    [
        ("{name}/{n}", "", "one folder per class; no masks"),
        ("{name}/{n:05}", "{name}/{n:05}_Mask", "masks beside the images"),
        ("images/{name}/{n}", "masks/{name}/{n}", "masks in folders of their own"),
        ("Images/{name}/{n}", "Masks/{name}/{n}_mask", "masks in folders of their own"),
        ("{name}/images/{n}", "{name}/masks/mask_{n}", "masks in folders of their own"),
        ("{name}/{n}", "masks/{n}", "masks in folders of their own"),
        ("{split}/{name}/{n}", "", "split=given: 6 in train, 3 in val, 3 in test; no masks"),
        ("{split}/{name}/{n}", "{split}/{name}/{n}_m", "masks beside the images"),
        ("images/{split}/{name}/{n}", "masks/{split}/{name}/{n}", "in folders of their own"),
        ("{split}/images/{name}/{n}", "{split}/masks/{name}/{n}", "in folders of their own"),
    ],
)
def test_layouts_give_the_same_cells(tmp_path, pattern, mask, said):
    raw = read_folders(class_folders(tmp_path, pattern, mask))
    assert said in raw.source
    assert raw.classes == CLASSES
    assert [cell.id for cell in raw.cells] == [f"{n:05d}" for n in range(1, 13)]
    assert [cell.label for cell in raw.cells] == LABELS
    assert [cell.part for cell in raw.cells] == (PARTS if "{split}" in pattern else [-1] * 12)
    for n, cell in enumerate(raw.cells, 1):
        fields = {"n": n, "name": name_of(n), "split": split_of(n)}
        assert cell.image == tmp_path / (pattern.format(**fields) + ".png")
        assert cell.mask == (tmp_path / (mask.format(**fields) + ".png") if mask else None)
    assert (raw.problems, raw.published_counts) == ((), None)


def test_a_table_names_the_classes_of_images_in_no_folder_of_one(tmp_path):
    class_folders(tmp_path, "images/{n:03}", "masks/{n:03}")
    rows = [[n, f"images/{n:03}.png", "ba"[n % 2]] for n in range(1, 13)]
    write_csv(tmp_path / "all.csv", [["id", "file", "label"], *rows])
    raw = read_folders(tmp_path)
    assert "classes from all.csv" in raw.source
    assert (raw.classes, [cell.label for cell in raw.cells]) == (("a", "b"), [0, 1] * 6)
    assert raw.cells[2].mask == tmp_path / "masks" / "003.png"


def test_images_of_one_name_are_called_by_their_paths(tmp_path):
    for name in ("a", "b"):
        for n in (1, 2):
            save(draw(n)[0], tmp_path / name / f"{n}.png")
            save(draw(n)[1], tmp_path / "masks" / name / f"{n}.png")
    raw = read_folders(tmp_path)
    assert [cell.id for cell in raw.cells] == ["a/1", "a/2", "b/1", "b/2"]
    assert [cell.mask.parent.name for cell in raw.cells] == ["a", "a", "b", "b"]


def test_a_mask_that_may_belong_to_two_images_belongs_to_none(tmp_path):
    for name in ("a", "b"):
        save(draw(1)[0], tmp_path / name / "1.png")
    save(draw(1)[1], tmp_path / "masks" / "1.png")
    with pytest.raises(Hep2ganError, match=r"none of which bears the name"):
        read_folders(tmp_path)


def test_cells_without_masks_and_masks_without_cells_are_problems(tmp_path):
    class_folders(tmp_path, "{name}/{n}", "{name}/{n}_mask")
    (tmp_path / "AC-1" / "2_mask.png").unlink()
    (tmp_path / "Rods" / "9.png").unlink()
    raw = read_folders(tmp_path)
    assert len(raw.cells) == 10
    (without, alone) = raw.problems
    assert without.id == "00002"
    assert "AC-1/2.png has no mask: a set has masks of all cells or of none" in without.reason
    assert "Rods/9_mask.png has no image" in alone.reason
    with pytest.raises(Hep2ganError, match="2 of 12 cells"):
        pack_cells(raw, tmp_path / "store", size=32)
    assert len(pack_cells(raw, tmp_path / "store", size=32, on_error="skip")) == 10
    raw = read_folders(tmp_path, with_masks=False)
    assert (len(raw.cells), raw.problems, raw.cells[0].mask) == (11, (), None)


def test_what_is_no_image_is_left_out_with_a_note(tmp_path):
    class_folders(tmp_path, "{name}/{n}")
    for path in ("AC-1/stack.czi", "AC-1/Thumbs.db", "notes.txt", ".trash/1.png", "overlays/1.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    raw = read_folders(tmp_path)
    assert (len(raw.cells), raw.notes[0][:33]) == (12, "left out: 1 file of kinds that ar")
    assert raw.notes[1].endswith("beside known ones: Rods")


def test_a_copy_of_the_2016_set_is_held_against_its_published_counts(tmp_path):
    raw = read_folders(class_folders(tmp_path, "{name}/{n}", names=[n.lower() for n in NAMES]))
    assert raw.classes == tuple(sorted(n.lower() for n in NAMES))
    assert raw.published_counts is None
    cells = range(sum(COUNTS))
    assert _published_counts(("AC-1", *NAMES[1:]), cells) == COUNTS
    assert _published_counts(NAMES[::-1], cells) == COUNTS[::-1]
    assert _published_counts(NAMES, cells[1:]) is None
    assert _published_counts(NAMES[:5], cells) is None


@pytest.mark.parametrize(("suffix", "note"), [(".jpg", "12 JPEG files: lossy"), (".bmp", "")])
def test_other_kinds_are_packed_and_jpeg_is_noted_once(tmp_path, suffix, note):
    root = class_folders(tmp_path / "raw", "{name}/{n}", "{name}/{n}_mask", suffix=suffix)
    store = pack_cells(read_folders(root), tmp_path / "store", size=64)
    reference = pack_cells(
        read_folders(class_folders(tmp_path / "png", "{name}/{n}", "{name}/{n}_mask")),
        tmp_path / "reference",
        size=64,
    )
    np.testing.assert_array_equal(store.mask, reference.mask)
    difference = np.abs(store.image.astype(int) - reference.image).mean()
    assert difference < 20 if note else difference == 0
    found = [text for text in store.manifest["findings"]["notes"] if "JPEG" in text]
    assert len(found) == bool(note)
    assert not note or found[0].startswith(note)
    oddities = [o["what"] for o in store.manifest["findings"]["oddities"]]
    assert any("JPEG masks, read at half of white" in what for what in oddities) == bool(note)
