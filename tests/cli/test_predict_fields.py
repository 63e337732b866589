"""Fields through a trained run and its export: the same answers as of the same crops as files."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hep2gan.cli import export, predict
from hep2gan.data.patterns import CLASSES
from tests.helpers.commands import call, inside_copy

pytestmark = pytest.mark.integration
RUN = "runs/default/proposed/seed0"
RAW = "stores/synthetic_96_0_lab0"
TILE, ACROSS, CELLS = 100, 4, (1, 20, 40, 60, 75, 80, 94, 95)


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_run):
    """A folder with a trained run, its export, and two fields of its cells with label images."""
    with inside_copy(tmp_path_factory, trained_run) as folder:
        assert call(export, RUN) == 0
        for field in range(2):
            write_field(f"fields/7_p{field}", CELLS[4 * field : 4 * field + 4])
        yield folder


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def write_field(stem, cells):
    """Tile the crops of cells, which the largest of is 89 px, in a row of the field."""
    image = np.full((TILE, ACROSS * TILE), 20, np.uint8)
    labels = np.zeros(image.shape, np.uint16)
    for at, cell in enumerate(cells):
        pixels, mask = (
            np.asarray(Image.open(f"{RAW}/{cell:05d}{end}.png")) for end in ("", "_Mask")
        )
        spot = np.s_[3 : 3 + len(pixels), at * TILE + 3 : at * TILE + 3 + pixels.shape[1]]
        image[spot], labels[spot] = pixels, (mask > 0) * np.uint16(cell)
    Path(stem).parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(f"{stem}.png")
    Image.fromarray(labels).save(f"{stem}_labels.png")


def rows(name):
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("run", [RUN, f"{RUN}/export"])
def test_cells_of_fields_are_predicted_as_their_crops(inside, run, capsys):
    out = f"out_{run.rpartition('/')[2]}"
    crops = [f"{RAW}/{cell:05d}.png" for cell in CELLS]
    assert call(predict, run, "fields", *crops, "~cells", f"output={out}") == 0
    said = capsys.readouterr().out
    assert "2 images taken for fields of cells, 8 images for one cell each" in said
    assert "2 of 2 fields done with 8 cells" in said
    assert "1 specimen: by the part of the name before _p and a number" in said
    assert "8 of 8 images done" in said
    singles = {int(Path(row["image"]).stem): row for row in rows(f"{out}/predictions.csv")}
    cells = rows(f"{out}/cells.csv")
    assert sorted(int(row["id"]) for row in cells) == sorted(CELLS)
    for row in cells:
        alone = singles[int(row["id"])]
        assert row["predicted"] == alone["predicted"]
        for name in CLASSES:
            assert float(row[f"p_{name}"]) == pytest.approx(float(alone[name]), abs=1e-5)
    assert {"distance", "nearest_class"} <= cells[0].keys()


def test_an_export_measures_the_distances_of_the_run(inside):
    for run, out in ((RUN, "torch"), (f"{RUN}/export", "onnx")):
        assert call(predict, run, "fields", "~cells", f"output={out}", "overlays=false") == 0
    for ours, theirs in zip(rows("torch/cells.csv"), rows("onnx/cells.csv"), strict=True):
        assert float(ours["distance"]) == pytest.approx(float(theirs["distance"]), rel=1e-3)
    assert not Path("torch/overlays").exists()


def test_a_table_says_which_specimen_fields_are_of(inside, capsys):
    Path("slides.csv").write_text("image,specimen\n7_p0.png,A\nfields/7_p1.png,B\n")
    options = ("~cells", "output=by_table", "specimens=slides.csv")
    assert call(predict, RUN, "fields", *options) == 0
    assert "2 specimens: by slides.csv" in capsys.readouterr().out
    assert [row["specimen"] for row in rows("by_table/specimens.csv")] == ["A", "B"]


def test_label_images_of_another_name(inside, capsys):
    Path("named").mkdir()
    for name, new in (("7_p0.png", "x.png"), ("7_p0_labels.png", "x_cp_masks.png")):
        Path(f"named/{new}").write_bytes(Path(f"fields/{name}").read_bytes())
    options = ("~cells", "output=by_pattern", "labels=*_cp_masks")
    assert call(predict, RUN, "named/x.png", *options) == 0
    assert rows("by_pattern/fields.csv")[0]["labels"] == "named/x_cp_masks.png"
    # A field that cannot be read is listed, the rest is done, and the status says so.
    Path("named/bad.png").write_bytes(b"nothing")
    assert call(predict, RUN, "named", *options[:1], options[2], "output=partly") == 2
    assert "named/bad.png" in capsys.readouterr().err
    assert [bool(row["problem"]) for row in rows("partly/fields.csv")] == [False, True]
