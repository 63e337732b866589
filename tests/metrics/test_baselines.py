import numpy as np
import pytest

from hep2gan.metrics.baselines import inscribed_ellipses, majority_class, otsu_masks


def test_ellipse_by_hand():
    # Unresized crop of 26 x 30: semiaxes 3 and 5 raw pixels round (13, 15).
    (mask,) = inscribed_ellipses(np.array([[26, 30]]), (26, 30))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max()) == (10, 15)
    assert (columns.min(), columns.max()) == (10, 19)
    for row, column in np.ndindex(26, 30):
        inside = ((row + 0.5 - 13) / 3) ** 2 + ((column + 0.5 - 15) / 5) ** 2 <= 1
        assert mask[row, column] == inside


def test_area_scales_with_the_resizing():
    mask = inscribed_ellipses(np.array([[69, 80], [54, 111]]), (128, 128))
    for found, (height, width) in zip(mask, [(69, 80), (54, 111)], strict=True):
        area = np.pi * (height / 2 - 10) * (width / 2 - 10) / (height * width) * 128**2
        assert found.sum() == pytest.approx(area, rel=0.01)
        assert np.array_equal(found, found[::-1])
        assert np.array_equal(found, found[:, ::-1])


def test_margins():
    # 35 x 35 with a margin of one seventh is a bounding box of 25 widened by 20 % on each side.
    share = inscribed_ellipses(np.array([[35, 35]]), (35, 35), margin=0, margin_share=0.2 / 1.4)
    fixed = inscribed_ellipses(np.array([[35, 35]]), (35, 35), margin=5)
    assert np.array_equal(share, fixed)
    assert not inscribed_ellipses(np.array([[20, 90]]), (32, 32)).any()
    assert inscribed_ellipses(np.array([[20, 90]]), (32, 32), margin=0).any()


def variance_between(pixels, level):
    low, high = pixels[pixels <= level], pixels[pixels > level]
    if not low.size or not high.size:
        return 0
    return low.size * high.size * (low.mean() - high.mean()) ** 2


def test_otsu_parts_best_of_all_levels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 90, (4, 9, 11)) + 120 * (rng.random((4, 9, 11)) < 0.3)
    for one, mask in zip(image, otsu_masks(image.astype(np.uint8)), strict=True):
        best = max(range(256), key=lambda level: variance_between(one, level))
        assert np.array_equal(mask, one > best)
        assert 0 < mask.sum() < mask.size


def test_otsu_by_hand():
    # Two levels part exactly; of 0, 0, 0, 1, 4 and 5 it is better to leave 1 with the zeros.
    image = np.array([[[7, 7, 200]], [[200, 7, 7]]], np.uint8)
    assert otsu_masks(image).tolist() == [[[False, False, True]], [[True, False, False]]]
    assert otsu_masks(np.array([[[0, 0, 0, 1, 4, 5]]], np.uint8))[0, 0].tolist() == 4 * [
        False
    ] + 2 * [True]
    assert not otsu_masks(np.full((1, 3, 3), 255, np.uint8)).any()
    assert not otsu_masks(np.zeros((1, 3, 3), np.uint8)).any()


def test_majority():
    found = majority_class(np.array([3, 9, 9]), 2)
    assert found.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert found.dtype == np.float32
