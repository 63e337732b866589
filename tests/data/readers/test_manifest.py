import unicodedata

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


@pytest.mark.parametrize(
    "text",
    [
        "image,mask,label,,\na.png,m.png,x,,\nb.png,n.png,y,,\n",
        "image;mask;label;;;\r\na.png;m.png;x;;;\r\nb.png;n.png;y;;;\r\n;;;;;\r\n",
        ",image,,mask,label\n0,a.png,,m.png,x\n1,b.png,,n.png,y\n",
        "image\tmask\tlabel\na.png\tm.png\tx\nb.png\tn.png\ty\n",
        "image,mask,label\na.png,m.png,x,,\nb.png,n.png,y\n",
        "image,mask,label,specimen\na.png,m.png,x,nan\nb.png,n.png,y,#N/A\n",
    ],
)
def test_tables_as_excel_and_pandas_write_them(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text, newline="")
    raw = read_manifest(tmp_path)
    assert [(c.id, c.mask.name, c.label) for c in raw.cells] == [
        ("a", "m.png", 0), ("b", "n.png", 1),
    ]  # fmt: skip
    assert raw.specimens == ()


@pytest.mark.parametrize(
    "text",
    [
        "image,mask,label,,\na.png,m.png,x,,more\n",
        "image,mask,label\na.png,m.png,x,,more\n",
    ],
)
def test_a_value_under_no_name_is_told(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text)
    refused(tmp_path, "line 2: 5 columns, but the header names 3")


def test_files_are_found_by_their_name_however_it_is_spelled(tmp_path):
    stored = unicodedata.normalize("NFD", "Zelle_ä")
    (tmp_path / "images").mkdir()
    for name in (f"{stored}.png", f"{stored}_m.png", "c3.png", "c3_m.png"):
        (tmp_path / "images" / name).touch()
    rows = [
        ["images\\Zelle_ä.png", "images/Zelle_ä_m.png", "x"],
        ["Images/C3.PNG", "images\\c3_m.PNG", "x"],
    ]
    write_csv(tmp_path / "manifest.csv", [HEADER[:3], *rows])
    raw = read_manifest(tmp_path)
    assert [cell.id for cell in raw.cells] == ["images/Zelle_ä", "images/c3"]
    assert all(cell.image.is_file() and cell.mask.is_file() for cell in raw.cells)
    write_csv(
        tmp_path / "manifest.csv", [HEADER[:3], *rows, [f"images/{stored}.png", "m.png", "x"]]
    )
    refused(tmp_path, "line 4: images/", "is already on line 2")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", ("Golgi", "golgi")),
        ("label", ("1", "1.0")),
        ("label", ("fine  speckled", "fine speckled")),
        ("label", ("nucleol\u00e4r", "nucleola\u0308r")),
        ("specimen", ("S1", "s1")),
    ],
)
def test_one_name_in_two_spellings_is_refused(tmp_path, column, values):
    row = {"image": "a.png", "mask": "m.png", "label": "x", "specimen": "s"}
    rows = [row | {"image": f"{n}.png", column: value} for n, value in enumerate(values)]
    write_csv(tmp_path / "manifest.csv", [list(row), *(list(each.values()) for each in rows)])
    refused(tmp_path, f"the {column} '{values[0]}' and the {column} '{values[1]}'")


@pytest.mark.parametrize(
    "text", ["image,label\na.png,x\n", "image,mask,label\na.png,,x\nb.png,nan,x\n"]
)
def test_a_table_may_name_no_masks(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text)
    raw = read_manifest(tmp_path)
    assert not raw.has_masks
    assert {cell.mask for cell in raw.cells} == {None}
    assert raw.cells[0].image == tmp_path / "a.png"


def test_a_cell_without_a_mask_beside_one_with_is_left_to_packing(tmp_path):
    write_csv(tmp_path / "manifest.csv", [HEADER, ["a.png", "m.png", "x"], ["b.png", "", "x"]])
    raw = read_manifest(tmp_path)
    assert [cell.mask for cell in raw.cells] == [tmp_path / "m.png", None]
    assert raw.has_masks


def test_missing_headers_and_tables(tmp_path):
    refused(tmp_path, "manifest.csv does not exist", "image,label[,mask]")
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


def test_a_name_that_is_too_long_for_the_disk_is_no_file(tmp_path):
    long = "a" * 300
    write_csv(
        tmp_path / "manifest.csv", [["image", "mask", "label"], ["1.png", f"{long}/m.png", "x"]]
    )
    (cell,) = read_manifest(tmp_path).cells
    assert cell.mask == tmp_path / long / "m.png"
