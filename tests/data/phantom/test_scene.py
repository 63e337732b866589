from dataclasses import dataclass, replace

import numpy as np
import pytest

from hep2gan.data.phantom.nucleus import Nucleus, sample_outline
from hep2gan.data.phantom.scene import (
    blur,
    compose_scene,
    crop_around,
    expose,
    place_neighbours,
    sample_defocus,
)
from hep2gan.data.phantom.specimens import plan_specimens


@dataclass(frozen=True)
class Flat:
    """A stain of one value in the nucleus and another around it, without an end."""

    body: float = 1.0
    around: float = 0.0

    def render(self, nucleus, rng):
        return np.where(nucleus.mask, np.float32(self.body), np.float32(self.around))


def specimen(stain, **changes):
    first = plan_specimens(100, 0)[0]
    return replace(
        first, stain=stain, **{"level": 40.0, "background": 20.0, "neighbours": 0.0, **changes}
    )


def test_crop_is_the_bounding_box_and_ten_pixels():
    mask = np.zeros((80, 90), bool)
    mask[30:51, 25:67] = True
    assert crop_around(mask) == (slice(20, 61), slice(15, 77))


@pytest.mark.parametrize("seed", range(10))
def test_crop_lies_on_the_canvas_with_room_for_the_blur(seed):
    scene = compose_scene(specimen(Flat()), np.random.default_rng(seed))
    for part, side in zip(crop_around(scene.mask), scene.mask.shape, strict=True):
        assert part.start >= 6
        assert part.stop <= side - 6
    assert scene.light.shape == scene.mask.shape
    assert scene.light.dtype == np.float32


def test_neighbours_never_overlap():
    rng = np.random.default_rng(0)
    for _ in range(40):
        cell = sample_outline(rng)
        others = place_neighbours(cell, 5, rng)
        assert len(others) >= 3
        cover = np.zeros((301, 301), int)
        for outline, (y, x) in [(cell, (0.0, 0.0)), *others]:
            cover += Nucleus(outline, (150 + y, 150 + x), (301, 301)).mask
        assert cover.max() == 1


def test_neighbours_are_near():
    rng = np.random.default_rng(0)
    gap = []
    for _ in range(300):
        cell = sample_outline(rng)
        for outline, offset in place_neighbours(cell, 1, rng):
            gap.append(np.hypot(*offset) - (cell.diameter + outline.diameter) / 2)
    assert len(gap) == 300
    assert min(gap) >= 1
    # 1 + |N(0, 7)| has its median at 5.7; keeping clear of long axes adds a little.
    assert 5.0 < np.median(gap) < 8.0


def test_neighbours_number_as_told(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hep2gan.data.phantom.scene.place_neighbours",
        lambda cell, count, rng: asked.append(count) or [],
    )
    own = specimen(Flat(), neighbours=2.0)
    for seed in range(200):
        compose_scene(own, np.random.default_rng(seed))
    assert np.mean(asked) == pytest.approx(2.0, abs=0.3)


def test_light_is_background_plus_level_and_never_a_neighbours_in_the_mask():
    # Around every nucleus this stain is fifty times as bright as inside: a neighbour would show.
    own = specimen(Flat(1.0, 50.0), neighbours=6.0)
    inside = []
    for seed in range(120):
        scene = compose_scene(own, np.random.default_rng(seed))
        inside.append(np.median(scene.light[scene.mask]))
    # Background 20 + level 40 with LN(1, .2) from cell to cell.
    assert np.median(inside) == pytest.approx(60, abs=3)
    assert np.log((np.array(inside) - 20) / 40).std() == pytest.approx(0.2, abs=0.04)


def test_neighbours_show_outside_the_mask():
    crowded, alone = specimen(Flat(), neighbours=3.0), specimen(Flat())
    outside = []
    for own in (crowded, alone):
        scenes = [compose_scene(own, np.random.default_rng(seed)) for seed in range(60)]
        outside.append(np.mean([(scene.light[~scene.mask] > 40).mean() for scene in scenes]))
    assert outside[0] > 0.03
    assert outside[1] < 0.005


def test_background_is_mottled_by_three_percent_and_lit_unevenly_by_twelve():
    spread, slope = [], []
    own = specimen(Flat(0.001, 0.0), level=0.001)
    for seed in range(150):
        scene = compose_scene(own, np.random.default_rng(seed))
        light = scene.light / 20
        y, x = np.mgrid[: light.shape[0], : light.shape[1]]
        design = np.stack([np.ones(light.size), y.ravel(), x.ravel()], axis=1)
        plane, *_ = np.linalg.lstsq(design, light.ravel(), rcond=None)
        slope.append(abs(plane[1]) * light.shape[0] + abs(plane[2]) * light.shape[1])
        spread.append((light.ravel() - design @ plane).std())
    assert np.median(spread) == pytest.approx(0.03, abs=0.006)
    assert 0.04 < np.median(slope) < 0.08  # U(0, .12) and the mottle's own slope
    assert np.percentile(slope, 95) < 0.14


def test_three_percent_hold_debris():
    dirty, own = 0, specimen(Flat(0.0, 0.0), level=100.0)
    for seed in range(500):
        scene = compose_scene(own, np.random.default_rng(seed))
        dirty += scene.light[crop_around(scene.mask)].max() > 40
    assert dirty / 500 == pytest.approx(0.03, abs=0.02)


def test_blur_is_85_parts_sharp_and_15_halo():
    point = np.zeros((81, 81), np.float32)
    point[40, 40] = 1
    for defocus in (0.0, 1.5):
        seen = blur(point, sharp=0.9, halo=4.0, defocus=defocus)
        y, x = np.mgrid[-40:41, -40:41]
        expected = sum(
            share
            * np.exp(-(y**2 + x**2) / (2 * (sigma**2 + defocus**2)))
            / (2 * np.pi * (sigma**2 + defocus**2))
            for share, sigma in ((0.85, 0.9), (0.15, 4.0))
        )
        assert seen.sum() == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(seen, expected, atol=0.02 * expected.max())


def test_blur_leaves_even_light_alone():
    np.testing.assert_allclose(
        blur(np.full((30, 20), 7, np.float32), sharp=1, halo=5, defocus=0), 7, rtol=1e-5
    )


@pytest.mark.parametrize("gain", [38.0, 58.0])
def test_noise_is_poisson_plus_read_noise_plus_rounding(gain):
    picture = expose(np.full((400, 400), 60, np.float32), gain, np.random.default_rng(0))
    assert picture.dtype == np.uint8
    assert picture.mean() == pytest.approx(60, abs=0.02)
    assert picture.var() == pytest.approx(60 / gain + 0.15**2 + 1 / 12, rel=0.03)


def test_read_noise_is_there_without_light():
    picture = expose(np.full((300, 300), 100.42, np.float32), 1e7, np.random.default_rng(0))
    # 100.42 + N(0, .15) is rounded up with the probability of exceeding 100.5.
    assert np.mean(picture == 101) == pytest.approx(0.297, abs=0.01)


def test_pixels_are_clipped_at_254():
    picture = expose(np.full((9, 9), 400, np.float32), 47, np.random.default_rng(0))
    assert (picture == 254).all()


def test_a_tenth_is_slightly_and_three_percent_badly_out_of_focus():
    rng = np.random.default_rng(0)
    sampled = np.array([sample_defocus(rng) for _ in range(20000)])
    assert np.mean(sampled > 2) == pytest.approx(0.03, abs=0.005)
    assert np.mean((sampled >= 1) & (sampled <= 2)) == pytest.approx(0.10, abs=0.01)
    assert np.mean(sampled == 0) == pytest.approx(0.87, abs=0.01)
    assert sampled.max() <= 3.5
