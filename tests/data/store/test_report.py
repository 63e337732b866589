import shutil

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.grouping import find_duplicates
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.report import MAX_LISTED, format_report, limit_list
from tests.helpers.raw_sets import cells, flat


def test_groups_of_equal_digests():
    digest = np.zeros((7, 16), np.uint8)
    digest[:, 15] = [5, 1, 5, 2, 1, 3, 5]
    found = find_duplicates(digest, np.array([0, 1, 0, 2, 1, 3, 4]))
    assert [rows.tolist() for rows in found.groups] == [[0, 2, 6], [1, 4]]
    assert found.conflicting.tolist() == [True, False]


def test_no_twins_no_groups():
    digest = np.arange(64, dtype=np.uint8).reshape(4, 16)
    found = find_duplicates(digest, np.zeros(4, np.int64))
    assert found.groups == []
    assert len(found.conflicting) == 0


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_those_of_a_dictionary(seed):
    rng = np.random.default_rng(seed)
    digest = np.repeat(rng.integers(0, 8, (40, 1), dtype=np.uint8), 16, 1)
    label = rng.integers(0, 2, 40)
    groups: dict[bytes, list[int]] = {}
    for row, key in enumerate(digest):
        groups.setdefault(key.tobytes(), []).append(row)
    expected = [group for group in groups.values() if len(group) > 1]
    found = find_duplicates(digest, label)
    assert [rows.tolist() for rows in found.groups] == expected
    assert found.conflicting.tolist() == [len(set(label[group])) > 1 for group in expected]


def copy_cell(source, target):
    shutil.copy(source.image, target.image)
    shutil.copy(source.mask, target.mask)


def test_identical_cells_are_found_with_their_ids(tmp_path):
    raw = cells(tmp_path / "raw", 8)
    copy_cell(raw.cells[0], raw.cells[2])
    copy_cell(raw.cells[3], raw.cells[5])
    shutil.copy(raw.cells[6].image, raw.cells[7].image)  # same image, other mask
    with Image.open(raw.cells[6].image) as image:
        size = image.size
    Image.new("L", size, 255).save(raw.cells[7].mask)
    # The same pixels in another file format.
    with Image.open(raw.cells[2].image) as image:
        image.convert("RGB").save(raw.cells[2].image, compress_level=0)
    store = pack_cells(raw, tmp_path / "store", size=32, keep_implausible=True)
    found = store.manifest["findings"]
    assert found["duplicates"] == {
        "count": 2,
        "cells": 4,
        "listed": [["00001", "00003"], ["00004", "00006"]],
    }
    assert found["conflicts"] == {"count": 1, "listed": [["00004", "00006"]]}
    text = "\n".join(format_report(store))
    assert "warning: 4 cells in 2 groups of identical cells: 00001 = 00003, 00004 = 00006" in text
    assert "warning: identical cells with different labels: 00004 = 00006" in text


def test_the_published_counts_stand_beside_the_found(tmp_path):
    root = flat(tmp_path / "raw")
    lines = format_report(pack_cells(read_icpr2016(root), tmp_path / "store", size=32))
    assert lines[0] == (
        f"12 cells in 6 classes from ICPR 2016 set in {root}"
        " (flat, table as handed out: gt_training.csv)"
    )
    assert lines[1] == "  Homogeneous         2   published   2,494"
    assert lines[6] == "  Golgi               2   published     724"
    assert "warning: the counts differ from the published ones (13,596 cells)" in lines


def test_sizes_specimens_constants_and_missing_classes(tmp_path):
    raw = cells(tmp_path / "raw", 6)._replace(classes=("a", "b", "none"))
    for cell, size in zip(raw.cells, (40, 50, 50, 60, 70, 110), strict=True):
        Image.effect_noise((size + 1, size), 30).save(cell.image)
        Image.new("L", (size + 1, size), 255).save(cell.mask)
    Image.new("L", (111, 110), 7).save(raw.cells[5].image)
    raw = raw._replace(cells=[*raw.cells[:5], raw.cells[5]._replace(specimen=-1)])
    store = pack_cells(raw, tmp_path / "store", size=32, keep_implausible=True)
    found = store.manifest["findings"]
    assert found["height"] == [40, 55.0, 110]
    assert found["width"] == [41, 56.0, 111]
    assert (found["specimens"], found["without_specimen"]) == (2, 1)
    assert found["constant"] == {"count": 1, "listed": ["00006"]}
    assert found["counts"] == [3, 3, 0]
    lines = format_report(store)
    assert "crops 40–110 px high (median 55), 41–111 px wide (median 56)" in lines
    assert "2 specimens of 5 cells" in lines
    assert "warning: no cell of class none" in lines
    assert "warning: 1 image of one grey level: 00006" in lines
    np.testing.assert_array_equal(store.levels[5], [7, 7])


def test_a_clean_set_has_no_warnings(tmp_path):
    lines = format_report(pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32))
    assert not any(line.startswith("warning") for line in lines)


def test_lists_are_bounded_and_counts_are_not():
    kept = limit_list(list(range(MAX_LISTED + 5)))
    assert kept["count"] == MAX_LISTED + 5
    assert (len(kept["listed"]), kept["listed"][-1]) == (MAX_LISTED, MAX_LISTED - 1)


def test_long_lists_are_cut_when_told(tmp_path):
    raw = cells(tmp_path / "raw", 8)
    for cell in raw.cells[:7]:
        with Image.open(cell.image) as image:
            Image.new("L", image.size, 3).save(cell.image)
    lines = format_report(pack_cells(raw, tmp_path / "store", size=32))
    ids = ", ".join(f"0000{n}" for n in range(1, 6))
    assert f"warning: 7 images of one grey level: {ids}, … and 2 more" in lines
