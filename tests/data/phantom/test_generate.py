import csv
import itertools
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom import generate
from hep2gan.data.phantom.generate import generate_cells, generate_specimen, write_phantom
from hep2gan.data.phantom.specimens import class_counts, plan_specimens
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.errors import Hep2ganError


@pytest.fixture(scope="module")
def cells():
    return list(generate_cells(500, 0))


def same(one, other):
    return np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)


def test_same_seed_same_cells():
    first, again, other = (list(generate_cells(12, seed)) for seed in (3, 3, 4))
    assert all(same(*pair) for pair in zip(first, again, strict=True))
    assert not any(same(*pair) for pair in zip(first, other, strict=True))


def test_a_cell_does_not_depend_on_those_before_it(cells):
    plan = plan_specimens(500, 0)
    before = sum(one.size for one in plan[:5])
    alone = next(generate_specimen(plan[5], 0, range(4, 5)))
    assert alone.id == cells[before + 4].id
    assert same(alone, cells[before + 4])


def test_ids_run_by_class_and_specimen(cells):
    assert [cell.id for cell in cells] == [f"{number:05d}" for number in range(1, 501)]
    labels, specimens = [c.label for c in cells], [c.specimen for c in cells]
    assert labels == sorted(labels)
    assert specimens == sorted(specimens)
    assert set(specimens) == set(range(max(specimens) + 1))
    assert np.bincount(labels).tolist() == class_counts(500)


def test_images_and_masks_are_as_in_the_real_set(cells):
    for cell in cells:
        assert cell.image.dtype == cell.mask.dtype == np.uint8
        assert cell.image.shape == cell.mask.shape
        assert set(np.unique(cell.mask)) == {0, 255}
        assert ndimage.label(cell.mask)[1] == 1
        rows = np.flatnonzero(cell.mask.any(axis=1))
        columns = np.flatnonzero(cell.mask.any(axis=0))
        assert (rows[0], columns[0]) == (10, 10)
        assert (rows[-1] + 11, columns[-1] + 11) == cell.mask.shape
        assert cell.image.max() <= 254
        assert cell.intensity in (0, 1)


def test_masks_lie_on_the_nuclei(cells):
    shift = []
    for cell in cells:
        if cell.label == 0:  # homogeneous: the nucleus itself is lit
            near = ndimage.binary_dilation(cell.mask, iterations=3)
            light = np.where(near, cell.image - float(cell.image[near].min()), 0)
            lit, meant = (ndimage.center_of_mass(one) for one in (light, cell.mask))
            shift.append(np.subtract(lit, meant))
    assert np.abs(np.median(shift, axis=0)).max() < 0.2


def test_sizes_are_those_of_the_real_set(cells):
    sides = np.array([cell.image.shape for cell in cells])
    assert sides.min() >= 50
    assert sides.max() <= 111
    assert 67 <= np.median(sides) <= 70
    assert (sides.max(axis=1) <= 80).mean() == pytest.approx(0.92, abs=0.04)
    diameter = [2 * np.sqrt((cell.mask > 0).sum() / np.pi) for cell in cells]
    assert np.median(diameter) == pytest.approx(47.6, abs=0.6)


def test_the_crop_leaks_the_mask_as_in_the_real_set(cells):
    assert np.mean([ellipse_dice(cell.mask > 0) for cell in cells]) == pytest.approx(
        0.945, abs=0.01
    )


def ellipse_dice(mask):
    half = (np.array(mask.shape) - 20) / 2
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    middle = (np.array(mask.shape) - 1) / 2
    ellipse = ((y - middle[0]) / half[0]) ** 2 + ((x - middle[1]) / half[1]) ** 2 <= 1
    return 2 * (ellipse & mask).sum() / (ellipse.sum() + mask.sum())


def test_masks_are_alike_in_all_classes(cells):
    for label in range(6):
        own = [(cell.mask > 0).sum() for cell in cells if cell.label == label]
        assert 2 * np.sqrt(np.median(own) / np.pi) == pytest.approx(47.6, abs=2.0)


def test_images_are_as_dark_as_in_the_real_set(cells):
    pixels = np.concatenate([cell.image.ravel() for cell in cells]) / 255
    assert pixels.mean() == pytest.approx(0.120, abs=0.015)
    assert pixels.std() == pytest.approx(0.0815, abs=0.02)
    brightest = np.percentile([cell.image.max() for cell in cells], [5, 25, 50, 75, 95])
    expected = np.array([28, 36, 52, 117, 254])
    assert (brightest > 0.75 * expected).all()
    assert (brightest < 1.35 * expected).all()
    border = [np.median(np.r_[c.image[0], c.image[-1], c.image[:, 0]]) for c in cells]
    low, _, middle, _, high = np.percentile(border, [5, 25, 50, 75, 95])
    assert low == pytest.approx(17, abs=3)
    assert middle == pytest.approx(22, abs=2.5)
    assert 25 < high < 45


def test_one_specimen_occurs_twice_when_asked():
    synthetic = list(generate_cells(120, 0, duplicate_specimen=True))
    assert len(synthetic) == 120
    earlier = ((one, synthetic[:i]) for i, one in enumerate(synthetic))
    pairs = [(one, other) for one, others in earlier for other in others if same(one, other)]
    size = [cell.specimen for cell in synthetic].count(pairs[0][0].specimen)
    assert len(pairs) == size >= 2
    assert {(one.label, one.specimen - other.specimen) for one, other in pairs} == {(4, 1)}
    assert {int(one.id) - int(other.id) for one, other in pairs} == {size}


def texture(cell):
    """Scale-free features of a cell: contrasts of fine and coarse detail, in and around it."""
    image, mask = cell.image.astype(float), cell.mask > 0
    inside = ndimage.distance_transform_edt(mask)
    rings = ((inside > 8), (inside > 3) & (inside <= 8), mask & (inside <= 3), ~mask)
    unit = image[mask].mean() - np.percentile(image, 2) + 1
    blurred = [image, *(ndimage.gaussian_filter(image, sigma) for sigma in (1, 2, 4))]
    bands = [fine - coarse for fine, coarse in itertools.pairwise(blurred)]
    values = [statistic(image[ring]) for ring in rings for statistic in (np.mean, np.max)]
    values += [band[ring].std() for band in bands for ring in rings]
    values += [band[ring].max() for band in bands for ring in rings]
    return np.array(values) / unit


def test_patterns_can_be_learned(cells):
    features, labels = np.array([texture(cell) for cell in cells]), [cell.label for cell in cells]
    order = np.random.default_rng(0).permutation(len(cells))
    train, test = order[:350], order[350:]
    forest = RandomForestClassifier(100, random_state=0)
    forest.fit(features[train], np.array(labels)[train])
    assert forest.score(features[test], np.array(labels)[test]) > 0.85


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_hold_the_synthetic_cells_in_the_real_sets_layout(tmp_path):
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
    synthetic = list(generate_cells(40, 1))
    assert [cell.id for cell in raw.cells] == [cell.id for cell in synthetic]
    assert [cell.label for cell in raw.cells] == [cell.label for cell in synthetic]
    assert [cell.specimen for cell in raw.cells] == [cell.specimen for cell in synthetic]
    assert [cell.intensity for cell in raw.cells] == [cell.intensity for cell in synthetic]


def test_processes_draw_the_same_cells(tmp_path):
    one = write_phantom(tmp_path / "one", 40, 2, workers=1)
    two = write_phantom(tmp_path / "two", 40, 2, workers=2)
    assert contents(one) == contents(two)


def test_what_is_there_is_left_alone(tmp_path, monkeypatch):
    root = write_phantom(tmp_path / "cells", 12, 0)
    monkeypatch.setattr(generate, "_write_chunk", None)  # drawing would raise
    assert write_phantom(root, 12, 0) == root


@pytest.mark.parametrize("change", [{"count": 11}, {"seed": 1}, {"version": -1}, {"missing": 1}])
def test_other_synthetic_cells_are_replaced(tmp_path, change):
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
    def full(pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate.Image, "fromarray", full)
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
