import numpy as np
import pytest
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Nucleus, Outline, sample_outline


def circle(radius):
    return Outline(np.full(720, radius, dtype=np.float32), 2.0 * radius)


def sample_nucleus(seed, shape=(120, 120), centre=(60.3, 59.8)):
    return Nucleus(sample_outline(np.random.default_rng(seed)), centre, shape)


@pytest.mark.parametrize("seed", range(5))
def test_area_is_that_of_the_equivalent_circle(seed):
    nucleus = sample_nucleus(seed)
    area = np.pi * nucleus.outline.diameter**2 / 4
    angle = np.arange(720) * np.pi / 360
    y, x = nucleus.outline.radius * np.sin(angle), nucleus.outline.radius * np.cos(angle)
    shoelace = 0.5 * np.abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert shoelace == pytest.approx(area, rel=1e-3)
    assert nucleus.mask.sum() == pytest.approx(area, rel=0.02)


def test_sizes_and_axis_ratios_follow_the_recipe():
    rng = np.random.default_rng(0)
    outlines = [sample_outline(rng) for _ in range(400)]
    diameter = np.array([outline.diameter for outline in outlines])
    assert np.median(diameter) == pytest.approx(47.6, abs=0.8)
    assert np.log(diameter / 47.6).std() == pytest.approx(0.095, abs=0.015)
    assert diameter.min() >= 41
    assert diameter.max() <= 70
    ratio = [axis_ratio(outline) for outline in outlines]
    assert np.mean(ratio) == pytest.approx(0.80, abs=0.02)
    assert np.std(ratio) == pytest.approx(0.066, abs=0.02)


def axis_ratio(outline):
    """Ratio of the axes of the ellipse with the outline's second moments."""
    angle = np.arange(720) * np.pi / 360
    weight = outline.radius.astype(float) ** 4
    yy, xx = (weight * np.sin(angle) ** 2).sum(), (weight * np.cos(angle) ** 2).sum()
    xy = (weight * np.sin(angle) * np.cos(angle)).sum()
    small, large = np.linalg.eigvalsh([[yy, xy], [xy, xx]])
    return np.sqrt(small / large)


def test_depth_is_the_distance_from_the_outline():
    nucleus = sample_nucleus(3)
    inner = ndimage.distance_transform_edt(nucleus.mask) - 0.5
    outer = ndimage.distance_transform_edt(~nucleus.mask) - 0.5
    true = np.where(nucleus.mask, inner, -outer)
    near = np.abs(true) < 8
    assert np.abs(nucleus.depth - true)[near].max() < 1.3
    assert np.abs(nucleus.depth - true)[near].mean() < 0.35


def test_circle_by_hand():
    nucleus = Nucleus(circle(10.0), (20, 20), (41, 41))
    assert nucleus.rho[20, 25] == pytest.approx(0.5)
    assert nucleus.depth[20, 25] == pytest.approx(5)
    assert nucleus.depth[33, 20] == pytest.approx(-3)
    assert nucleus.dome(0.5)[20, 25] == pytest.approx(np.sqrt(0.75))
    assert nucleus.dome(0.5)[20, 31] == 0
    assert nucleus.inside[20, 30] == pytest.approx(0.5)
    assert nucleus.mask[20, 30]
    assert not nucleus.mask[20, 31]
    assert nucleus.outline.reach == pytest.approx((10, 10))


def test_circles_overlap_when_nearer_than_the_gap():
    large, small = circle(10.0), circle(3.0)
    assert large.overlaps(small, (0, 14.4), gap=1.5)
    assert not large.overlaps(small, (0, 14.6), gap=1.5)
    assert large.overlaps(small, (1.0, 0), gap=0)  # one swallows the other
    assert small.overlaps(large, (1.0, 0), gap=0)


def test_points_lie_where_they_are_asked_for():
    nucleus = sample_nucleus(1)
    angle = np.linspace(0, 2 * np.pi, 50)
    outside = ndimage.distance_transform_edt(~nucleus.mask)
    for outward in (3.0, 9.0):
        y, x = np.rint(nucleus.points_at(angle, np.full(50, outward))).astype(int).T
        assert np.abs(outside[y, x] - 0.5 - outward).max() < 1.6
    points = nucleus.sample_points(np.random.default_rng(0), 0.8, 4000)
    y, x = np.rint(points).astype(int).T
    assert nucleus.rho[y, x].max() < 0.85
    # Uniform over the area: half the radius holds a quarter of the points.
    assert np.mean(nucleus.rho[y, x] < 0.4) == pytest.approx(0.25, abs=0.03)
