import shutil
import unicodedata

import numpy as np
import pytest

from hep2gan.data.patterns import parse_label
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import NAMES, flat, folders, headed, write_csv, write_pair


def refused(root, *words):
    with pytest.raises(Hep2ganError) as caught:
        read_icpr2016(root)
    for word in (*words, "Fix: "):
        assert word in str(caught.value)


def test_the_layout_as_handed_out(tmp_path):
    raw = read_icpr2016(flat(tmp_path))
    assert raw.classes == ("Homogeneous", "Speckled", "Nucleolar", "Centromere", "NuMem", "Golgi")
    assert raw.published_counts == (2494, 2831, 2598, 2741, 2208, 724)
    assert [cell.id for cell in raw.cells] == [f"{n:05d}" for n in range(1, 13)]
    assert [cell.label for cell in raw.cells] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [cell.intensity for cell in raw.cells] == [1, 0] * 6
    assert {cell.specimen for cell in raw.cells} == {-1}
    assert raw.cells[4].image == tmp_path / "00005.png"
    assert raw.cells[4].mask == tmp_path / "00005_Mask.png"
    assert "gt_training.csv" in raw.source
    assert raw.problems == ()


def test_all_layouts_give_the_same_cells(tmp_path):
    roots = [
        flat(tmp_path / "flat"),
        headed(tmp_path / "headed"),
        headed(tmp_path / "short", padded=False),
        folders(tmp_path / "folders"),
    ]
    stores = [
        pack_cells(read_icpr2016(root), tmp_path / f"{root.name}.store", size=32) for root in roots
    ]
    for store in stores[1:]:
        for name in ("id", "label", "image", "mask", "digest", "levels", "crop_size"):
            np.testing.assert_array_equal(getattr(store, name), getattr(stores[0], name))
        assert set(store.intensity) == {-1}
    assert len({store.fingerprint for store in stores[1:]}) == 1


def test_cells_are_sorted_by_id_whatever_the_order_of_the_table(tmp_path):
    root = flat(tmp_path)
    lines = (root / "gt_training.csv").read_text().splitlines()
    (root / "gt_training.csv").write_text("\n".join(reversed(lines)))
    raw = read_icpr2016(root)
    assert [cell.id for cell in raw.cells] == [f"{n:05d}" for n in range(1, 13)]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("homogeneous", 0),
        ("HOMOGENEOUS ", 0),
        ("speckled", 1),
        ("Nucleolar", 2),
        ("centromere", 3),
        ("NuMem", 4),
        ("numem", 4),
        ("Nuclear membrane", 4),
        ("nuclear_membrane", 4),
        ("Golgi", 5),
        ("golgi apparatus", 5),
        ("mitotic", None),
        ("", None),
    ],
)
def test_class_names_as_people_write_them(name, label):
    assert parse_label(name) == label


def test_folders_may_carry_variants_of_the_names(tmp_path):
    root = folders(tmp_path)
    (root / "NuMem").rename(root / "Nuclear membrane")
    (root / "Golgi").rename(root / "golgi")
    (root / "notes").mkdir()
    assert [cell.label for cell in read_icpr2016(root).cells] == sorted([0, 1, 2, 3, 4, 5] * 2)


def test_semicolons_marks_and_other_mask_names_are_read(tmp_path):
    root = headed(tmp_path, count=6)
    text = (root / "classes.csv").read_text().replace(",", ";").replace("\r\n", "\n")
    (root / "classes.csv").write_text(text, "utf-8-sig")
    (root / "00003_Mask.png").rename(root / "00003_mask.png")
    assert read_icpr2016(root).cells[2].mask == root / "00003_mask.png"


def test_specimens_come_beside_the_table(tmp_path):
    root = flat(tmp_path)
    rows = [["image", "specimen"], *([f"{n:05d}.png", 10 if n > 6 else 9] for n in range(1, 12))]
    write_csv(root / "specimens.csv", rows)
    raw = read_icpr2016(root)
    assert raw.specimens == ("9", "10")
    assert [cell.specimen for cell in raw.cells] == [0] * 6 + [1] * 5 + [-1]
    assert "1 cells" in raw.notes[0]
    write_csv(root / "specimens.csv", [*rows, ["00099.png", 9], ["00001.png", 9]])
    refused(root, "specimens.csv", "line 13: 00099 is not a cell", "line 14: 00001 is named twice")


def test_every_wrong_line_is_listed(tmp_path):
    root = flat(tmp_path)
    table = root / "gt_training.csv"
    lines = table.read_text().splitlines()
    lines[2] = lines[2].replace("Speckled", "Mitotic")
    lines[3] = lines[0]
    lines[4] = "00005.png,00005_Mask.png"
    lines[5] = lines[5].replace("intermediate", "bright")
    lines[6] = "../00007.png,00007_Mask.png,Golgi,positive"
    table.write_text("\n".join(lines))
    refused(
        root,
        str(table),
        "5 wrong lines",
        "line 3: unknown class 'Mitotic' (the classes are Homogeneous",
        "line 4: the id 00001 is already on line 1",
        "line 5: 2 columns",
        "line 6: unknown intensity 'bright'",
        "line 7: '../00007.png' is not the name of a file",
    )


def test_a_table_in_another_encoding_is_named_with_its_line(tmp_path):
    root = flat(tmp_path)
    table = root / "gt_training.csv"
    table.write_bytes(table.read_bytes().replace(b"00003.png", b"0000\xe9.png"))
    refused(root, str(table), "line 3", "not UTF-8", "0xe9")


def test_missing_and_empty_folders(tmp_path):
    refused(tmp_path / "none", "none does not exist", "data.root")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty is empty")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")
    write_pair(tmp_path / "loose", 1)
    refused(tmp_path / "loose", "no table of classes")
    flat(tmp_path / "outer" / "inner", count=6)
    refused(tmp_path / "outer", f"set data.root to {tmp_path / 'outer' / 'inner'}")


def move(root, *parts):
    """The twelve cells in class folders, each file where `parts` says; see `folders`."""
    made = folders(root / "made")
    for path in sorted(made.rglob("*.png")):
        new = root.joinpath(*(part(path) if callable(part) else part for part in parts))
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    shutil.rmtree(made)
    return root


def by_class(path):
    return path.parent.name


def name(path):
    return path.name


def test_class_folders_one_level_deeper_are_seen(tmp_path):
    root = move(tmp_path, lambda p: "train" if p.name < "00007" else "test", by_class, name)
    refused(root, "in the folders test/Centromere", f"data=folders data.root={root}")


def test_numbered_folders_are_told_the_reader_of_any_classes(tmp_path):
    root = move(tmp_path, lambda p: str(NAMES.index(p.parent.name) + 1), name)
    refused(root, "in the folders 1, 2, 3, 4, 5, 6", f"data=folders data.root={root}")


@pytest.mark.parametrize("deeper", [by_class, ""])
def test_parallel_folders_are_seen(tmp_path, deeper):
    def of(path):
        return "masks" if "Mask" in path.name else "images"

    root = move(tmp_path, of, deeper, lambda p: p.name.replace("_Mask", ""))
    refused(root, "in the folders images", "masks beside the", f"data=folders data.root={root}")


@pytest.mark.parametrize("layout", [flat, headed, folders])
def test_a_set_may_have_no_masks(tmp_path, layout):
    with_masks = read_icpr2016(layout(tmp_path))
    for mask in tmp_path.rglob("*_Mask.png"):
        mask.unlink()
    found = read_icpr2016(tmp_path)
    assert found.cells == [cell._replace(mask=None) for cell in with_masks.cells]
    assert not found.problems


def test_images_without_masks_in_other_places_are_told_where(tmp_path):
    root = move(tmp_path, "val", by_class, name)
    for mask in root.rglob("*_Mask.png"):
        mask.unlink()
    refused(root, "in the folders val/Centromere", f"data=folders data.root={root}")
    write_csv(root / "classes.csv", [["Image ID", "Image class"], ["1", "Golgi"]])
    refused(root, "none of which lies beside it; images lie in val")


def test_the_set_of_2012_is_named(tmp_path):
    write_pair(tmp_path / "training", 1)
    (tmp_path / "training" / "gt_training.csv").write_text("ID;pattern\n1;homogeneous\n")
    for root in (tmp_path, tmp_path / "training"):
        refused(root, "the 2012 contest", f"data=icpr2012 data.root={tmp_path / 'training'}")


def test_images_of_kinds_that_are_not_read_are_named(tmp_path):
    root = move(tmp_path, by_class, lambda p: p.stem + ".gif")
    refused(
        root, "24 files of kinds that are not read (.gif; PNG, TIFF, BMP and JPEG are)", "save them"
    )
    write_pair(root / "Golgi", 99)
    assert read_icpr2016(root).notes == (
        "left out: 24 files of kinds that are not read (.gif; PNG, TIFF, BMP and JPEG are)",
    )


def test_a_table_away_from_its_images_is_told_where_they_lie(tmp_path):
    root = move(tmp_path, "dataset", name)
    write_csv(root / "classes.csv", [["Image ID", "Image class"], ["1", "Golgi"], ["2", "NuMem"]])
    refused(root, "classes.csv lists 2 cells, none of which lies beside it", "lie in dataset")
    shutil.rmtree(root / "dataset")
    refused(root, "none of which lies beside it: ", "unpack images and masks there")


def test_masks_are_found_in_any_spelling(tmp_path):
    root = folders(tmp_path)
    spellings = ("{}_mask", "{}-Mask", "mask_{}", "{}_MASK", "{} mask", "{}_m")
    for folder, spelling in zip(sorted(root.iterdir()), spellings, strict=True):
        for mask in folder.glob("*_Mask.png"):
            number = mask.stem.removesuffix("_Mask")
            mask.rename(mask.with_name(spelling.format(number) + ".png"))
    raw = read_icpr2016(root)
    assert len(raw.cells) == 12
    assert all(cell.mask.is_file() for cell in raw.cells)
    assert raw.problems == ()


def test_ids_are_equal_in_both_forms_of_unicode(tmp_path):
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        write_pair(root, 1)
        for path in root.glob("*.png"):
            path.rename(root / unicodedata.normalize("NFD", path.name.replace("00001", "Zelle_ä")))
        write_csv(root / "classes.csv", [
            ["Image ID", "Image class"], [unicodedata.normalize(form, "Zelle_ä"), "Golgi"],
        ])  # fmt: skip
        raw = read_icpr2016(root)
        assert [cell.id for cell in raw.cells] == ["Zelle_ä"]
        assert raw.cells[0].image.is_file()


def test_a_table_as_handed_out_may_lack_intensities_and_have_empty_columns(tmp_path):
    root = flat(tmp_path)
    table = root / "gt_training.csv"
    lines = table.read_text().splitlines()
    table.write_text("".join(f"{line},,\n" for line in lines))
    assert [cell.intensity for cell in read_icpr2016(root).cells] == [1, 0] * 6
    table.write_text("".join(f"{line.rpartition(',')[0]},\n" for line in lines))
    assert {cell.intensity for cell in read_icpr2016(root).cells} == {-1}


def test_a_table_that_is_none_is_named(tmp_path):
    write_pair(tmp_path, 1)
    write_csv(tmp_path / "manifest.csv", [["image", "mask", "label"], ["a", "b", "c"]])
    refused(tmp_path, "manifest.csv", "data=manifest")
    (tmp_path / "manifest.csv").write_text("")
    refused(tmp_path, "begins 'nothing'")


def test_two_tables_are_refused_unless_one_is_the_set_s_own(tmp_path):
    root = headed(tmp_path, count=6)
    shutil.copy(root / "classes.csv", root / "copy.csv")
    refused(root, "classes.csv, copy.csv")
    flat(tmp_path, count=6)
    assert read_icpr2016(root).cells[0].intensity == 1


def test_images_that_no_line_names_are_problems(tmp_path):
    root = flat(tmp_path)
    write_pair(root, 77)
    (root / "._00001.png").touch()
    raw = read_icpr2016(root)
    assert [problem.id for problem in raw.problems] == ["00077"]
    assert str(root / "00077.png") in raw.problems[0].reason
    with pytest.raises(Hep2ganError, match=r"1 of 13 cells.*\n.*00077\.png is not named"):
        pack_cells(raw, tmp_path / "store", size=32)
    store = pack_cells(raw, tmp_path / "store", size=32, on_error="skip")
    assert len(store) == 12
    assert store.manifest["findings"]["skipped"]["listed"][0]["id"] == "00077"


def test_folders_tell_lone_masks_loose_images_and_unknown_classes(tmp_path):
    root = folders(tmp_path)
    (root / "Golgi" / "00012.png").unlink()
    write_pair(root, 50)
    assert {problem.id for problem in read_icpr2016(root).problems} == {"00012", "00050"}
    write_pair(root / "Mitotic", 60)
    refused(root, "unknown class 'Mitotic'", str(root))


def test_one_id_in_two_classes_is_refused(tmp_path):
    root = folders(tmp_path)
    write_pair(root / "Golgi", 1)
    refused(root, str(root / "Golgi" / "00001.png"), "same id 00001")
    root = flat(tmp_path / "twice")
    shutil.copy(root / "00001.png", root / "1.png")
    refused(root, "both the cell 00001")


def test_a_missing_file_is_met_when_packing(tmp_path):
    root = headed(tmp_path)
    (root / "00004.png").unlink()
    raw = read_icpr2016(root)
    assert len(raw.cells) == len(NAMES) * 2
    with pytest.raises(Hep2ganError, match=f"{root / '00004.png'} does not exist"):
        pack_cells(raw, tmp_path / "store", size=32)
    (root / "00005_Mask.png").unlink()
    with pytest.raises(Hep2ganError, match="1 of 12 cells have no mask: 00005"):
        pack_cells(read_icpr2016(root), tmp_path / "store", size=32)


def test_names_too_long_for_the_disk_are_no_files(tmp_path):
    long = "a" * 300 + ".png"
    write_csv(tmp_path / "gt_training.csv", [[long, long, "Golgi", "positive"]])
    with pytest.raises(Hep2ganError, match="none of which lies beside it"):
        read_icpr2016(tmp_path)
