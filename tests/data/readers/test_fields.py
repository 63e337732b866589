"""Labelled fields: which cells they hold, of which class, and what packing makes of them."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from hep2gan.data.prepare import open_store, pack_store
from hep2gan.data.readers.field_tables import read_field_tables
from hep2gan.data.readers.fields import FieldsSource
from hep2gan.data.readers.icpr_fields import Icpr2012FieldsSource, Icpr2016FieldsSource
from hep2gan.data.readers.image import resize, stretch
from hep2gan.data.store import pack, pack_worker
from hep2gan.data.store.pack import pack_cells, split_cells
from hep2gan.data.store.pack_worker import cell_digest
from hep2gan.errors import Hep2ganError
from tests.helpers.configs import parsed
from tests.helpers.field_sets import field, labelled_fields
from tests.helpers.raw_sets import save, write_csv


def source(root, **settings):
    return FieldsSource(
        **{"name": "mine", "root": str(root), "store": str(root.parent / "store")} | settings
    )


def packed(root, **settings):
    return pack_store(source(root, size=32, **settings), workers=1)


def test_every_labelled_cell_is_a_cell(tmp_path):
    raw = source(labelled_fields(tmp_path / "set")).read()
    assert [cell.id for cell in raw.cells[:6]] == [
        *(f"00001_p0_c{n}" for n in range(1, 6)), "00001_p1_c1",
    ]  # fmt: skip
    assert len(raw.cells) == 20
    assert raw.classes == ("a", "b")
    assert raw.specimens == ("s0", "s1")
    assert [cell.label for cell in raw.cells] == [0] * 10 + [1] * 10
    assert [cell.specimen for cell in raw.cells] == [0] * 10 + [1] * 10
    assert {cell.intensity for cell in raw.cells} == {1}
    # A disc of radius 11 about (22, 24), with 10 px on each side; the fifth at the right border.
    assert raw.cells[0].region == (1, (1, 3, 44, 46))
    assert raw.cells[4].region == (5, (19, 91, 62, 120))
    assert any("4 cells are cut by the border of their field and packed" in n for n in raw.notes)


def test_pixels_masks_and_digests_are_those_of_the_crops(tmp_path):
    store = packed(labelled_fields(tmp_path / "set"))
    assert len(store) == 20
    image, labels = field(2)
    crop, mask = image[1:44, 3:46].astype(np.float32), (labels[1:44, 3:46] == 1).astype(np.uint8)
    row = store.id.tolist().index("00002_p0_c1")
    pixels, levels = stretch(resize(crop, 32))
    np.testing.assert_array_equal(store.image[row], pixels)
    np.testing.assert_allclose(store.levels[row], levels)
    nearest = Image.fromarray(mask).resize((32, 32), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(store.mask[row], nearest)
    assert store.crop_size[row].tolist() == [43, 43]
    assert store.digest[row].tobytes() == cell_digest(crop, mask)
    geometry = store.crop_geometry()
    assert geometry[:4] == (43, 29, 43, 10)
    assert geometry.nucleus == pytest.approx(2 * (377 / np.pi) ** 0.5, abs=0.01)


def test_a_mask_has_no_pixels_of_the_neighbours_that_its_margin_reaches(tmp_path):
    store = packed(labelled_fields(tmp_path / "set", 2), crop_margin=22)
    image, labels = field(0)
    crop, near = image[:56, :58].astype(np.float32), labels[:56, :58]
    assert set(np.unique(near)) == {0, 1, 2, 3}
    assert store.digest[0].tobytes() == cell_digest(crop, (near == 1).astype(np.uint8))


def test_a_field_is_read_once_whatever_the_number_of_its_cells(tmp_path, monkeypatch):
    raw = source(labelled_fields(tmp_path / "set")).read()
    seen = []
    for name in ("decode_image", "read_labels"):
        real = getattr(pack_worker, name)
        monkeypatch.setattr(
            pack_worker, name, lambda p, *a, real=real, **k: seen.append(p.name) or real(p, *a, **k)
        )
    monkeypatch.setattr(pack, "CHUNK", 3)
    pack_cells(raw, tmp_path / "store", size=32, workers=1)
    assert len(seen) == len(set(seen)) == 8


def test_chunks_end_with_their_field(tmp_path, monkeypatch):
    cells = source(labelled_fields(tmp_path / "set")).read().cells
    monkeypatch.setattr(pack, "CHUNK", 7)
    assert [(first, len(part)) for first, part in split_cells(cells)] == [(0, 10), (10, 10)]
    monkeypatch.setattr(pack, "_MAX_CHUNK", 8)
    sizes = [(first, len(part)) for first, part in split_cells(cells)]
    assert sizes == [(0, 8), (8, 7), (15, 5)]
    alone = [cell._replace(image=tmp_path / cell.id) for cell in cells]
    assert [len(part) for _, part in split_cells(alone)] == [7, 7, 6]


def test_classes_by_cell_come_first_then_by_field_then_by_specimen(tmp_path):
    root = labelled_fields(tmp_path / "set")
    rows = [["image", "specimen", "label", "colour"]]
    rows += [["00001_p0.png", "x", "", ""], ["00001_p1.png", "x", "of field", ""]]
    rows += [["00002_p0", "y", "", ""], ["00002_p1.png", "y", "", ""]]
    write_csv(root / "fields.csv", rows)
    write_csv(root / "specimens.csv", [["specimen", "label"], ["x", "of x"], ["y", "of y"]])
    write_csv(
        root / "cells.csv",
        [["image", "cell", "label", "mitotic"], ["00002_p0.png", 2, "of cell", 0],
         ["00002_p0.png", 3, "", 1]],
    )  # fmt: skip
    raw = source(root).read()
    named = {cell.id: raw.classes[cell.label] for cell in raw.cells}
    assert {name[:8] for name, kind in named.items() if kind == "of x"} == {"00001_p0"}
    assert {name[:8] for name, kind in named.items() if kind == "of field"} == {"00001_p1"}
    assert {name[:8] for name, kind in named.items() if kind == "of y"} == {"00002_p1"}
    assert named["00002_p0_c2"] == "of cell"
    assert len(named) == 16
    assert any(note.startswith("4 labelled cells have no class") for note in raw.notes)
    assert any(note.endswith("not used: colour") for note in raw.notes)
    left = {c.region.label: c.left_out for c in source(root).read_fields().fields[2].cells}
    assert left == {1: "no class", 2: "", 3: "no class", 4: "no class", 5: "no class"}


def test_specimens_come_from_the_names_where_no_table_has_them(tmp_path):
    root = labelled_fields(tmp_path / "set")
    (root / "fields.csv").unlink()
    write_csv(root / "specimens.csv", [["specimen", "label"], ["00001", "a"], ["00002", "b"]])
    raw = source(root).read()
    assert raw.specimens == ("00001", "00002")
    assert len(raw.cells) == 20
    for name in ("00001_p0", "00001_p0_labels"):
        (root / f"{name}.png").rename(root / f"{name.replace('00001_p0', 'other')}.png")
    (root / "specimens.csv").unlink()
    names = ("other", "00001_p1", "00002_p0", "00002_p1")
    write_csv(root / "fields.csv", [["image", "label"], *([name, "a"] for name in names)])
    raw = source(root).read()
    assert raw.specimens == ("00001_p1", "00002_p0", "00002_p1", "other")
    assert "no table names specimens: each field counts as one" in raw.notes


def test_border_margin_masks_and_pattern(tmp_path):
    root = labelled_fields(tmp_path / "set", ending="_cp_masks")
    raw = source(root, labels="*_cp_masks", border=False, crop_margin=4).read()
    assert len(raw.cells) == 16
    assert raw.cells[0].region.box == (7, 9, 38, 40)
    store = packed(root, labels="*_cp_masks", masks=False)
    assert not store.has_masks
    assert len(store) == 20
    assert store.crop_size[0].tolist() == [43, 43]


def test_a_speck_is_no_cell_and_binary_masks_are(tmp_path):
    root = labelled_fields(tmp_path / "set", count=2)
    _, labels = field(0)
    labels[80, 60:62] = 9
    save(np.uint8(255) * (labels > 0), root / "00001_p0_mask.png")
    (root / "00001_p0_labels.png").unlink()
    raw = source(root).read()
    assert len(raw.cells) == 10
    assert any("1 labelled specks" in note for note in raw.notes)


def test_fields_that_cannot_be_read_are_listed_and_the_rest_is_done(tmp_path):
    root = labelled_fields(tmp_path / "set", count=6)
    save(field(0)[1] * 0, root / "00001_p0_labels.png")
    save(field(1)[1][:-1], root / "00001_p1_labels.png")
    (root / "00002_p0_labels.png").unlink()
    (root / "00002_p1.png").write_bytes(b"none")
    rows = source(root).read()
    assert [problem.id for problem in rows.problems] == ["00001_p1", "00002_p0"]
    assert "label images without cells: 00001_p0" in rows.notes
    with pytest.raises(Hep2ganError) as caught:
        packed(root)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4  # one for the five cells of the field that is no image
    assert lines[-1].startswith("  - 5 cells (00002_p1_c1, 00002_p1_c2, ")
    store = packed(root, on_error="skip")
    assert {name[:8] for name in store.id} == {"00003_p0", "00003_p1"}
    assert store.manifest["findings"]["skipped"]["count"] == 7


def test_a_table_that_names_other_fields(tmp_path):
    root = labelled_fields(tmp_path / "set")
    rows = [["image", "label"], ["x.png", "a"]]
    write_csv(root / "fields.csv", rows)
    with pytest.raises(Hep2ganError, match=r"other fields .*such as x.png and 00001_p0.png"):
        source(root).read()
    write_csv(root / "fields.csv", [*rows, ["00001_p0.png", "a"]])
    problems = source(root).read().problems
    assert [problem.id for problem in problems] == ["x.png", "00001_p1", "00002_p0", "00002_p1"]
    write_csv(root / "cells.csv", [["image", "cell", "label"], ["x.png", 1, "a"]])
    with pytest.raises(Hep2ganError, match=r"cells.csv names other fields"):
        source(root).read()
    write_csv(root / "cells.csv", [["image", "cell", "label"], ["00001_p0.png", 8, "a"]])
    reasons = [problem.reason for problem in source(root).read_fields().problems]
    assert any("names cell 8 of" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("fields.csv", "../1.png,a,,", "leaves the folder"),
        ("fields.csv", "00001_p0.png,a,bright,", "unknown intensity 'bright'"),
        ("fields.csv", "00001_p0.png,a,,later", "unknown split 'later'"),
        ("fields.csv", ",a,,", "no image"),
        ("cells.csv", "00001_p0.png,0,a", "'0' is no number of a cell"),
        ("cells.csv", "00001_p0.png,1.5,a", "'1.5' is no number"),
        ("specimens.csv", ",a", "no specimen"),
    ],
)
def test_wrong_lines_are_named(tmp_path, table, line, words):
    root = labelled_fields(tmp_path / "set", 1)
    header = {"fields.csv": "image,label,intensity,split", "cells.csv": "image,cell,label"}
    (root / table).write_text(f"{header.get(table, 'specimen,label')}\n{line}\n")
    with pytest.raises(Hep2ganError, match=f"(?s){table} has 1 wrong line.*line 2: .*{words}"):
        read_field_tables(root, [root / "00001_p0.png"])


def contest_fields(root, table):
    for number in (1, 2):
        image, labels = field(number)
        folder = root / "Images" / f"{number:02d}"
        save(np.repeat(image[..., None], 3, 2), folder / f"{number:02d}.bmp")
        mask = np.uint8(255) * (labels > 0)
        save(np.repeat(mask[..., None], 3, 2), folder / f"{number:02d}_mask.bmp")
        save(image[:40, :40], root / "Cells" / f"{number:03d}.png")
    (root / "table.csv").write_text(table)
    return root


@pytest.mark.parametrize(
    "table",
    [
        "image;pattern;intensity\n01;homogeneous;positive\n2;cytoplasmatic;intermediate\n",
        "id;pattern\n1;homogeneous\n2;cytoplasmatic\n",
        "id;image;pattern\n1;1;homogeneous\n2;1;homogeneous\n3;2;cytoplasmatic\n",
    ],
)
def test_fields_of_2012(tmp_path, table):
    root = contest_fields(tmp_path / "set", table)
    settings = source(root).model_dump(exclude={"root"}) | {"root": str(root)}
    raw = Icpr2012FieldsSource(**settings).read()
    assert raw.classes == ("cytoplasmatic", "homogeneous")
    assert [cell.label for cell in raw.cells] == [1] * 5 + [0] * 5
    assert raw.specimens == ("00001", "00002")
    assert raw.cells[0].id == "00001_c1"
    assert len(pack_cells(raw, tmp_path / "store", size=32, workers=1)) == 10


def test_a_table_of_the_cells_of_2012_is_not_one_of_its_fields(tmp_path):
    table = "id;pattern\n" + "".join(f"{n};homogeneous\n" for n in range(1, 9))
    root = contest_fields(tmp_path / "set", table)
    settings = source(root).model_dump(exclude={"root"}) | {"root": str(root)}
    with pytest.raises(Hep2ganError, match="no table of the classes of its 2 fields"):
        Icpr2012FieldsSource(**settings).read()


@pytest.mark.parametrize(
    "table",
    [
        "specimen,class,intensity\n00001,Mitotic Spindle,positive\n2,NuMem,intermediate\n",
        "image,label,intensity\n00001_p0.tif,MitSp,positive\n00001_p1.tif,MitSp,positive\n"
        "00002_p0.tif,NuMem,intermediate\n00002_p1.tif,NuMem,intermediate\n",
        "".join(
            f"{n}_p{p}.tif,{n}_p{p}_Mask.tif,{kind}\n"
            for n, kind in (("00001", "MitSp,positive"), ("00002", "NuMem,intermediate"))
            for p in (0, 1)
        ),
    ],
)
def test_task_2(tmp_path, table):
    root = tmp_path / "set"
    root.mkdir()
    for n in range(4):
        image, labels = field(n)
        name = f"{n // 2 + 1:05d}_p{n % 2}"
        tifffile.imwrite(root / f"{name}.tif", image)
        tifffile.imwrite(root / f"{name}_Mask.tif", np.uint8(255) * (labels > 0))
    (root / "gt.csv").write_text(table)
    settings = source(root).model_dump(exclude={"root"}) | {"root": str(root)}
    raw = Icpr2016FieldsSource(**settings).read()
    assert len(raw.cells) == 20
    assert raw.specimens == ("00001", "00002")
    assert [cell.intensity for cell in raw.cells] == [1] * 10 + [0] * 10
    assert len({raw.classes[cell.label] for cell in raw.cells[:10]}) == 1
    (root / "gt.csv").write_text(table.replace("NuMem", "Rods"))
    with pytest.raises(Hep2ganError, match="unknown class 'Rods'"):
        Icpr2016FieldsSource(**settings).read()


@pytest.mark.parametrize("name", ["fields", "icpr2012_fields", "icpr2016_fields"])
def test_the_groups_say_what_packs_them(tmp_path, name):
    data = parsed(f"data={name}", f"data.root={tmp_path}").source
    assert data.crop_margin == 10
    with pytest.raises(Hep2ganError, match=f"run hep2gan-pack data={name} data.root={tmp_path}"):
        open_store(data)


def test_a_set_of_which_no_cell_is_left_says_why(tmp_path):
    root = labelled_fields(tmp_path / "set", 1)
    write_csv(root / "fields.csv", [["image", "label"], ["00001_p0.png", ""]])
    with pytest.raises(Hep2ganError, match=r"(?s)no labelled cell.*5 labelled cells have no class"):
        source(root).read()
    save(field(0)[1] * 0, root / "00001_p0_labels.png")
    with pytest.raises(Hep2ganError, match=r"(?s)no labelled cell.*without cells: 00001_p0"):
        source(root).read()
