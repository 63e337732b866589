"""Cells found by thresholds: exact counts of made discs, and what the settings do."""

import sys

import numpy as np
import pytest
from scipy import ndimage
from skimage import draw

from hep2gan.config import parse_finder
from hep2gan.data.fields.shapes import Likeness, choose_regions, fill_holes, measure_shapes
from hep2gan.data.fields.threshold import ThresholdFinder, estimate_diameter
from hep2gan.errors import Hep2ganError
from hep2gan.metrics.instances import average_precision, match_instances
from hep2gan.settings import Component

SHAPE = (200, 260)
APART = ((40, 40), (50, 130), (140, 70), (150, 200))


def field(centres, radius=20, level=60.0, uneven=0.0, seed=0):
    """Discs on a dark background with noise, blurred as by a microscope; and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int32)
    for number, centre in enumerate(centres, 1):
        labels[draw.disk(centre, radius, shape=SHAPE)] = number
    light = 15 + uneven * np.linspace(0, 1, SHAPE[1]) + level * (labels > 0)
    light = ndimage.gaussian_filter(light, 1.2) + rng.normal(0, 1, SHAPE)
    return light.astype(np.float32), labels


def precision(image, labels, diameter=40.0, **settings):
    found = ThresholdFinder(**settings).find(image, diameter)
    assert found.dtype == np.int32
    assert found.shape == image.shape
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    return average_precision(match_instances(labels, found, 0.8))


@pytest.mark.parametrize("diameter", [40.0, None])
def test_discs_apart(diameter):
    assert precision(*field(APART), diameter) == 1


def test_discs_that_touch():
    assert precision(*field([(60, 60), (60, 99), (140, 100), (168, 128)])) == 1


def test_discs_cut_by_the_border():
    assert precision(*field([(0, 60), (100, 0), (100, 120), (199, 200), (60, 259)])) == 1


def test_uneven_background_and_dim_cells():
    assert precision(*field(APART, level=15.0, uneven=30.0)) == 1


def test_rings_and_grains_are_whole_cells():
    image, labels = field(APART, level=20.0)
    depth = ndimage.distance_transform_edt(labels > 0)
    rings = image + 30 * ((depth > 0) & (depth < 4))
    assert precision(rings.astype(np.float32), labels) == 1
    grains = image.copy()
    for y, x in APART:
        for shift in (-8, 0, 8):
            grains[draw.disk((y + shift, x + shift / 2), 2)] += 150
    assert precision(grains, labels) == 1


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.full(SHAPE, 200.0), np.full((1, 1), 3.0)])
@pytest.mark.parametrize("diameter", [40.0, None])
def test_a_field_without_cells(image, diameter):
    found = ThresholdFinder().find(image.astype(np.float32), diameter)
    assert found.shape == image.shape
    assert not found.any()


def test_noise_alone_has_no_cells():
    image, _ = field(())
    assert not ThresholdFinder().find(image, 40.0).any()


@pytest.mark.parametrize("radius", [8, 20, 32])
def test_the_diameter_is_estimated(radius):
    assert estimate_diameter(field(APART, radius)[0]) == pytest.approx(2 * radius, rel=0.25)


def test_a_diameter_of_the_settings_is_before_that_of_the_training():
    image, _ = field(APART)
    with_own = ThresholdFinder(diameter=40.0).find(image, 400.0)
    assert np.array_equal(with_own, ThresholdFinder().find(image, 40.0))


def test_colours_are_refused():
    with pytest.raises(Hep2ganError, match=r"shape \(4, 4, 3\).*choose a channel"):
        ThresholdFinder().find(np.zeros((4, 4, 3), np.float32), None)


def test_shapes_by_hand():
    labels = np.zeros((60, 100), np.int32)
    labels[draw.ellipse(30, 25, 10, 20)] = 1
    labels[20:40, 60:80] = 2
    shapes = measure_shapes(labels, 2)
    assert shapes.area.tolist() == [np.sum(labels == 1), 400]
    # A square's second moment is side²/12: 12 / 4π of its ellipse.
    assert shapes.fill == pytest.approx([1, 3 / np.pi], abs=0.01)
    assert shapes.ratio == pytest.approx([0.5, 1], abs=0.02)


def test_holes_are_filled_as_scipy_fills_them():
    mask = np.random.default_rng(0).random((50, 60)) < 0.6
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


def test_two_peaks_are_chosen_in_place_of_the_clump_around_them():
    y, x = np.mgrid[:40, :60]
    peaks = [np.exp(-((y - 20) ** 2 + (x - at) ** 2) / 60) for at in (20, 38)]
    likeness = Likeness(smallest=4, largest=40, gain=0.04)
    labels, number = choose_regions(np.maximum(*peaks), np.linspace(0.05, 0.95, 19), likeness)
    assert number == 2
    assert labels[20, 20] != labels[20, 38]
    one, alone = choose_regions(peaks[0], np.linspace(0.05, 0.95, 19), likeness)
    assert (alone, one[20, 20], one[0, 59]) == (1, 1, 0)


MINE = """
from hep2gan.settings import PositiveInt, Settings

import numpy as np


class Brightest(Settings):
    level: PositiveInt = 100

    def find(self, image, diameter):
        return (image > self.level).astype(np.int32)
"""


def test_a_finder_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_finder.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = Component.model_validate({"_target_": "my_finder.Brightest", "level": 50})
    try:
        with pytest.raises(Hep2ganError, match=r"trusted=\[PACKAGE\]"):
            parse_finder(mine)
        image, labels = field([(100, 100)])
        found = parse_finder(mine, ["my_finder"]).find(image, None)
        assert average_precision(match_instances(labels, found)) == 1
        wrong = Component.model_validate({"_target_": "my_finder.Brightest", "level": 0})
        with pytest.raises(Hep2ganError, match=r"cells\.level is 0"):
            parse_finder(wrong, ["my_finder"])
    finally:
        sys.modules.pop("my_finder", None)
