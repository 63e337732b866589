import pytest

from hep2gan.data.readers.manifest import read_manifest
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import write_csv

HEADER = ["image", "mask", "label", "specimen", "intensity", "split"]


def refused(path, *words):
    with pytest.raises(Hep2ganError) as caught:
        read_manifest(path)
    for word in (*words, "Fix: "):
        assert word in str(caught.value)


def test_all_columns(tmp_path):
    rows = [
        HEADER,
        ["x/b.png", "m/b.png", "z", "s2", "positive", "train"],
        ["x/a.tif", "m/a.tif", "c", "s1", "intermediate", "val"],
        ["x/c.png", "m/c.png", "z", "", "", ""],
        ["x/d.png", "m/d.png", "c", "s2", "Positive", "TEST"],
    ]
    write_csv(tmp_path / "manifest.csv", rows)
    raw = read_manifest(tmp_path)
    assert raw.classes == ("c", "z")
    assert raw.specimens == ("s1", "s2")
    assert [cell.id for cell in raw.cells] == ["x/b", "x/a", "x/c", "x/d"]
    assert [cell.label for cell in raw.cells] == [1, 0, 1, 0]
    assert [cell.specimen for cell in raw.cells] == [1, 0, -1, 1]
    assert [cell.intensity for cell in raw.cells] == [1, 0, -1, 1]
    assert [cell.part for cell in raw.cells] == [0, 1, -1, 2]
    assert raw.cells[1].mask == tmp_path / "m" / "a.tif"
    assert (raw.published_counts, raw.notes) == (None, ())


def test_three_columns_in_any_order_and_case_of_any_csv(tmp_path):
    write_csv(tmp_path / "mine.csv", [["Label", "MASK", "image"], ["10", "m.png", "a.png"]])
    raw = read_manifest(tmp_path / "mine.csv")
    assert raw.classes == ("10",)
    cell = raw.cells[0]
    assert (cell.id, cell.label, cell.specimen, cell.intensity, cell.part) == ("a", 0, -1, -1, -1)


def test_whole_numbers_sort_as_numbers_before_names(tmp_path):
    rows = [[f"{n}.png", "m.png", label] for n, label in enumerate(["b", "10", "2", "a"])]
    write_csv(tmp_path / "manifest.csv", [HEADER[:3], *rows])
    assert read_manifest(tmp_path).classes == ("2", "10", "a", "b")


def test_columns_that_are_not_used_are_noted(tmp_path):
    write_csv(tmp_path / "manifest.csv", [[*HEADER[:3], "age"], ["a.png", "m.png", "x", "44"]])
    assert "age" in read_manifest(tmp_path).notes[0]


def test_images_that_differ_in_their_suffix_keep_it(tmp_path):
    rows = [["a.png", "m.png", "x"], ["a.tif", "m.png", "x"]]
    write_csv(tmp_path / "manifest.csv", [HEADER[:3], *rows])
    assert [cell.id for cell in read_manifest(tmp_path).cells] == ["a.png", "a.tif"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["../a.png", "m.png", "x"], "leaves the folder of the csv file with '..'"),
        (["a.png", "b/../../m.png", "x"], "the mask 'b/../../m.png' leaves"),
        (["/etc/a.png", "m.png", "x"], "is not relative"),
        (["a.png", "C:\\m.png", "x"], "is not relative"),
        (["..\\a.png", "m.png", "x"], "leaves"),
        (["a.png", "m.png", ""], "no label"),
        (["", "m.png", "x"], "no image"),
        (["a.png", "", "x"], "no mask"),
        ([".", "m.png", "x"], "names no file"),
        (["a\0.png", "m.png", "x"], "NUL"),
        (["a.png", "m.png", "x", "s", "bright"], "unknown intensity 'bright'"),
        (["a.png", "m.png", "x", "s", "", "holdout"], "unknown split 'holdout'"),
        (["a.png", "m.png", "x", "s", "", "", "more"], "7 columns, but the header names 6"),
        (["./ok.png", "m.png", "x"], "ok.png is already on line 2"),
    ],
)
def test_wrong_lines_are_named(tmp_path, row, said):
    write_csv(tmp_path / "manifest.csv", [HEADER, ["ok.png", "ok_m.png", "x"], row])
    refused(tmp_path, str(tmp_path / "manifest.csv"), "  - line 3: ", said)


def test_missing_headers_and_tables(tmp_path):
    refused(tmp_path, "manifest.csv does not exist", "image,mask,label")
    path = tmp_path / "manifest.csv"
    path.write_text("")
    refused(tmp_path, "is empty")
    write_csv(path, [HEADER])
    refused(tmp_path, "names no cells")
    write_csv(path, [["image", "mask"], ["a", "b"]])
    refused(tmp_path, "lacks label")
    write_csv(path, [["image", "mask", "label", "Label"], ["a", "b", "c", "d"]])
    refused(tmp_path, "label twice")
    path.write_bytes(b"image,mask,label\na.png,m.png,\xff\n")
    refused(tmp_path, "line 2", "not UTF-8")
    path.write_bytes("image,mask,label\n".encode("utf-16"))
    refused(tmp_path, "not UTF-8")
    path.write_text('image,mask,label\na,b,"' + "c" * 200_000 + '"\n')
    refused(tmp_path, "cannot be read")
