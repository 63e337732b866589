import csv
import json

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom import generate
from hep2gan.data.phantom.generate import generate_cells, write_phantom
from hep2gan.data.phantom.specimens import plan_specimens
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.errors import Hep2ganError


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_hold_the_drawn_cells_in_the_real_sets_layout(tmp_path):
    root = write_phantom(tmp_path / "deep" / "cells", 30, 5)
    assert root == tmp_path / "deep" / "cells"
    assert len(list(root.iterdir())) == 2 * 30 + 3
    with (root / "gt_training.csv").open(newline="") as table:
        truth = list(csv.reader(table))
    with (root / "specimens.csv").open(newline="") as table:
        origin = list(csv.DictReader(table))
    for cell, row, source in zip(generate_cells(30, 5), truth, origin, strict=True):
        assert row == [
            *(f"{cell.id}.png", f"{cell.id}_Mask.png", ICPR2016[cell.label].name),
            ("intermediate", "positive")[cell.intensity],
        ]
        assert source == {"image": f"{cell.id}.png", "specimen": str(cell.specimen)}
        for name, pixels in ((row[0], cell.image), (row[1], cell.mask)):
            with Image.open(root / name) as image:
                assert image.mode == "L"
                np.testing.assert_array_equal(np.asarray(image), pixels)
    assert json.loads((root / "phantom.json").read_text())["count"] == 30


def test_the_loader_reads_them(tmp_path):
    raw = read_icpr2016(write_phantom(tmp_path / "cells", 40, 1))
    drawn = list(generate_cells(40, 1))
    assert [cell.id for cell in raw.cells] == [cell.id for cell in drawn]
    assert [cell.label for cell in raw.cells] == [cell.label for cell in drawn]
    assert [cell.specimen for cell in raw.cells] == [cell.specimen for cell in drawn]
    assert [cell.intensity for cell in raw.cells] == [cell.intensity for cell in drawn]


def test_processes_draw_the_same_cells(tmp_path):
    one = write_phantom(tmp_path / "one", 40, 2, workers=1)
    two = write_phantom(tmp_path / "two", 40, 2, workers=2)
    assert contents(one) == contents(two)


def test_what_is_there_is_left_alone(tmp_path, monkeypatch):
    root = write_phantom(tmp_path / "cells", 12, 0)
    monkeypatch.setattr(generate, "_write_chunk", None)  # drawing would raise
    assert write_phantom(root, 12, 0) == root


@pytest.mark.parametrize("change", [{"count": 11}, {"seed": 1}, {"version": -1}, {"missing": 1}])
def test_other_drawn_cells_are_replaced(tmp_path, change):
    root = write_phantom(tmp_path / "cells", 12, 0)
    if "missing" in change:
        (root / "00003.png").unlink()
    if "version" in change:
        marker = json.loads((root / "phantom.json").read_text())
        (root / "phantom.json").write_text(json.dumps({**marker, "generator_version": -1}))
    count, seed = change.get("count", 12), change.get("seed", 0)
    write_phantom(root, count, seed)
    assert contents(root) == contents(write_phantom(tmp_path / "fresh", count, seed))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells", "fresh"]


def test_duplicates_are_another_set(tmp_path):
    root = write_phantom(tmp_path / "cells", 100, 0)
    plain = contents(root)
    write_phantom(root, 100, 0, duplicate_specimen=True)
    twice = contents(root)
    second, third = [s for s in plan_specimens(100, 0, duplicate_specimen=True) if s.label == 4][1:]
    start = int(next(name for name in sorted(twice) if twice[name] != plain.get(name))[:5])
    assert second.size == third.size > 0
    assert start > sum(s.size for s in plan_specimens(100, 0) if s.label < 4)
    images = [data for name, data in twice.items() if "Mask" not in name and name[0] == "0"]
    assert len(set(images)) == 100 - third.size


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "cells").mkdir()
    write_phantom(tmp_path / "cells", 7, 0)
    assert len(list((tmp_path / "cells").glob("*_Mask.png"))) == 7


@pytest.mark.parametrize(
    ("synthetic", "foreign", "message"),
    [(False, "00001.png", r"lacks phantom\.json"), (True, "notes.txt", r"notes\.txt")],
)
def test_nothing_but_synthetic_cells_is_overwritten(tmp_path, synthetic, foreign, message):
    root = tmp_path / "cells"
    if synthetic:
        write_phantom(root, 7, 0)
    root.mkdir(exist_ok=True)
    (root / foreign).write_text("precious")
    before = contents(root)
    with pytest.raises(Hep2ganError, match=message):
        write_phantom(root, 8, 0)
    assert contents(root) == before
    assert list(tmp_path.iterdir()) == [root]


def test_a_folder_of_others_is_refused_before_drawing(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("precious")
    monkeypatch.setattr(generate, "_write_cells", None)
    with pytest.raises(Hep2ganError, match=r"notes\.txt"):
        write_phantom(tmp_path, 7, 0)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "cells").write_text("precious")
    with pytest.raises(Hep2ganError, match="cells is a file"):
        write_phantom(tmp_path / "cells", 7, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_leaves_what_was_there(tmp_path, error):
    root = write_phantom(tmp_path / "cells", 7, 0)
    before = contents(root)

    def stop(done, total):
        raise error

    with pytest.raises(error):
        write_phantom(root, 9, 0, progress=stop)
    assert contents(root) == before
    assert list(tmp_path.iterdir()) == [root]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(path, pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "_write_png", full)
    with pytest.raises(Hep2ganError, match="No space left on device"):
        write_phantom(tmp_path / "cells", 7, 0)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_the_end(tmp_path):
    told = []
    write_phantom(tmp_path / "cells", 40, 0, progress=lambda *state: told.append(state))
    done = [cells for cells, _ in told]
    assert done == sorted(set(done))
    assert told[-1] == (40, 40)
    assert len(told) > 5


def test_bad_settings_are_refused_before_anything_is_written(tmp_path):
    for settings in ({"count": 0}, {"count": 5, "workers": 0}, {"count": 5, "seed": -1}):
        with pytest.raises(Hep2ganError):
            write_phantom(tmp_path / "cells", **settings)
    assert list(tmp_path.iterdir()) == []
