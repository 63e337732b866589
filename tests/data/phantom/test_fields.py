import csv
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.fields.regions import cut_cell, find_regions
from hep2gan.data.patterns import CLASSES
from hep2gan.data.phantom import fields
from hep2gan.data.phantom.fields import (
    FieldsPlan,
    PhantomFieldsSource,
    generate_field,
    plan_field_specimens,
    write_phantom_fields,
)
from hep2gan.data.phantom.generate import generate_specimen, write_phantom
from hep2gan.data.phantom.specimens import plan_specimens
from hep2gan.errors import Hep2ganError

SMALL = {"width": 300, "height": 260, "cells_min": 5, "cells_max": 7}


def small(**settings):
    return FieldsPlan(**SMALL | settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven specimens, the last of them with two fields."""
    return write_phantom_fields(
        tmp_path_factory.mktemp("fields") / "deep" / "set", small(fields=22)
    )


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("number", "classes"),
    [(1, {0: 1}), (21, dict.fromkeys(range(6), 1)), (72, dict.fromkeys(range(6), 3))],
)
def test_all_classes_occur_from_six_specimens_on(number, classes):
    plan = plan_field_specimens(small(fields=number))
    assert Counter(specimen.label for specimen in plan) == classes
    assert [specimen.number for specimen in plan] == list(range(len(plan)))
    assert sum(specimen.size for specimen in plan) == number


def test_specimens_are_those_of_the_cells_of_the_same_seed():
    cells = {specimen.key: specimen for specimen in plan_specimens(500, 3)}
    for specimen in plan_field_specimens(small(fields=48, seed=3)):
        same = cells[specimen.key]
        assert (specimen.stain, specimen.level, specimen.gain) == (
            same.stain,
            same.level,
            same.gain,
        )
    other = plan_field_specimens(small(fields=48, seed=4))
    assert not {s.level for s in other} & {s.level for s in cells.values()}


def test_fields_depend_on_seed_specimen_and_position():
    plan = small(fields=24)
    first, second = plan_field_specimens(plan)[:2]
    images = [
        generate_field(plan, first, 0),
        generate_field(plan, first, 1),
        generate_field(plan, second, 0),
        generate_field(small(fields=24, lab=2), plan_field_specimens(small(lab=2))[0], 0),
    ]
    assert len({field.image.tobytes() for field in images}) == 4
    assert {field.image.shape for field in images} == {(260, 300)}
    # Not on how many fields there are.
    more = small(fields=48)
    again = generate_field(more, plan_field_specimens(more)[0], 1)
    np.testing.assert_array_equal(again.image, images[1].image)
    np.testing.assert_array_equal(again.labels, images[1].labels)


def test_files_have_the_layout_of_labelled_fields(folder):
    assert len(list(folder.iterdir())) == 2 * 22 + 3
    rows, cells = table(folder / "fields.csv"), table(folder / "cells.csv")
    assert [row["image"] for row in rows[3:6]] == ["00001_p3.png", "00002_p0.png", "00002_p1.png"]
    assert rows[-1]["image"] == "00006_p1.png"
    assert {row["label"] for row in rows} == set(CLASSES)
    assert {row["intensity"] for row in rows} <= {"intermediate", "positive"}
    for row in rows:
        assert row["specimen"] == row["image"][:5]
        own = [cell for cell in cells if cell["image"] == row["image"]]
        assert 4 <= len(own) <= 7
        with Image.open(folder / row["image"]) as image:
            assert (image.mode, image.size) == ("L", (300, 260))
        with Image.open(folder / row["image"].replace(".png", "_labels.png")) as labels:
            assert labels.size == (300, 260)
            assert labels.mode.startswith("I")
            assert np.unique(labels).tolist() == list(range(len(own) + 1))
        assert [cell["cell"] for cell in own] == [str(n + 1) for n in range(len(own))]
        for cell in own:
            assert cell["label"] == ("" if cell["mitotic"] == "1" else row["label"])
            assert 0 <= float(cell["defocus"]) < 3.5
    assert {cell["mitotic"] for cell in cells} == {"0", "1"}


def test_full_fields_are_as_specified():
    plan = FieldsPlan(fields=24)
    field = generate_field(plan, plan_field_specimens(plan)[2], 0)
    assert field.image.shape == field.labels.shape == (1040, 1388)
    regions = find_regions(field.labels)
    assert len(regions) == len(field.mitotic) == len(field.defocus)
    assert 40 <= len(regions) <= 120
    assert sum(region.at_border for region in regions) == pytest.approx(0.1 * len(regions), abs=1)
    assert sum(field.mitotic) == pytest.approx(0.03 * len(regions), abs=1)


def measure(image, mask):
    return (
        2 * np.sqrt(mask.sum() / np.pi),
        image[mask].mean(),
        np.percentile(image, 2),
        image[mask].std(),
    )


@pytest.mark.parametrize("label", range(6), ids=CLASSES)
def test_cells_look_like_the_synthetic_cells(label):
    plan = FieldsPlan(fields=24, width=700, height=500, cells_min=40, cells_max=45)
    specimen = plan_field_specimens(plan)[label]
    field = generate_field(plan, specimen, 0)
    inner = [
        cut_cell(field.image.astype(np.float32), field.labels, region, 10)
        for region in find_regions(field.labels)
        if not region.at_border and not field.mitotic[region.label - 1]
    ]
    cells = generate_specimen(specimen, 0, range(40))
    in_fields = np.median([measure(cell.image, cell.mask > 0) for cell in inner], axis=0)
    alone = np.median([measure(cell.image, cell.mask > 0) for cell in cells], axis=0)
    size, level, dark, contrast = in_fields / alone
    assert size == pytest.approx(1, abs=0.05)
    assert level == pytest.approx(1, abs=0.15)
    assert dark == pytest.approx(1, abs=0.15)
    assert contrast == pytest.approx(1, abs=0.35)


@pytest.mark.integration
def test_processes_generate_the_same_fields(tmp_path, folder):
    two = write_phantom_fields(tmp_path / "two", small(fields=22), workers=2)
    assert contents(two) == contents(folder)


def test_what_is_there_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(fields, "_write_field", None)  # generating would raise
    assert write_phantom_fields(folder, small(fields=22)) == folder


@pytest.mark.parametrize("change", [{"seed": 1}, {"width": 310}, {"version": -1}, {"missing": 1}])
def test_other_fields_are_replaced(tmp_path, change):
    root = write_phantom_fields(tmp_path / "set", small(fields=2))
    if "missing" in change:
        (root / "00001_p0_labels.png").unlink()
    if "version" in change:
        marker = json.loads((root / "phantom.json").read_text())
        (root / "phantom.json").write_text(json.dumps({**marker, "version": -1}))
    plan = small(fields=2, **{k: v for k, v in change.items() if k in ("seed", "width")})
    write_phantom_fields(root, plan)
    assert contents(root) == contents(write_phantom_fields(tmp_path / "fresh", plan))


def test_synthetic_cells_and_fields_do_not_replace_each_other(tmp_path):
    cells, root = write_phantom(tmp_path / "cells", 7), tmp_path / "set"
    write_phantom_fields(root, small(fields=1))
    before = contents(cells), contents(root)
    with pytest.raises(Hep2ganError, match=r"00001\.png"):
        write_phantom_fields(cells, small(fields=1))
    with pytest.raises(Hep2ganError, match=r"00001_p0\.png"):
        write_phantom(root, 7)
    assert (contents(cells), contents(root)) == before


def test_progress_counts_to_the_end(tmp_path):
    told = []
    write_phantom_fields(tmp_path / "set", small(fields=3), progress=lambda *s: told.append(s))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("settings", "message", "mended"),
    [
        ({"cells_min": 9}, "cells_max=9", {"cells_min": 9, "cells_max": 9}),
        ({"cells_max": 30}, "room for 21 cells", {"cells_max": 21}),
        ({"spread": 5.0}, "between 0 and 4", {"spread": 1.0}),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, message, mended):
    with pytest.raises(Hep2ganError, match=message):
        write_phantom_fields(tmp_path / "set", small(fields=1, **settings))
    assert list(tmp_path.iterdir()) == []
    write_phantom_fields(tmp_path / "set", small(fields=1, **mended))


def test_a_source_writes_its_fields_and_reads_their_cells(tmp_path):
    source = PhantomFieldsSource(
        name="phantom_fields", root=str(tmp_path / "set"), store="-", fields=22, **SMALL
    )
    raw = source.read(workers=1)
    cells = table(tmp_path / "set" / "cells.csv")
    assert len(raw.cells) == sum(cell["mitotic"] == "0" for cell in cells)
    assert sorted(raw.classes) == sorted(CLASSES)
    assert len(raw.specimens) == 6
    assert not raw.problems
    assert not [note for note in raw.notes if "not used" in note]
    with pytest.raises(Hep2ganError, match="cells_max=9"):
        PhantomFieldsSource(root="-", name="f", store="-", **SMALL | {"cells_min": 9})
