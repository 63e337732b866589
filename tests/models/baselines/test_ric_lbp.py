"""RIC-LBP by hand, against a literal loop, and turned."""

import numpy as np
import pytest

from hep2gan.models.baselines.texture import (
    PATTERN_BIN,
    SCALES,
    label_pairs,
    ric_lbp_features,
)

STEPS = {0: (0, 1), 45: (-1, 1), 90: (-1, 0), 135: (-1, -1), 180: (0, -1), 225: (1, -1)}
STEPS |= {270: (1, 0), 315: (1, 1)}


def grey(height, width, levels=6, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.float32)


def literal(image, s, r):
    """Counts of unordered pairs, one pixel after the other, by the definition."""
    height, width = image.shape

    def pattern(y, x, angle):
        bits = []
        for turn in (0, 90, 180, 270):
            down, right = STEPS[(angle + turn) % 360]
            v, u = y + s * down, x + s * right
            if not (0 <= v < height and 0 <= u < width):
                return None
            bits.append(int(image[v, u] >= image[y, x]))
        return tuple(bits)

    counts = {}
    for angle in (0, 45, 90, 135):
        down, right = STEPS[angle]
        for y in range(s, height - s):
            for x in range(s, width - s):
                v, u = y + r * down, x + r * right
                if not (s <= v < height - s and s <= u < width - s):
                    continue
                a, b = pattern(y, x, angle), pattern(v, u, angle)
                turned = (b[2:] + b[:2], a[2:] + a[:2])
                key = min((a, b), turned)
                counts[key] = counts.get(key, 0) + 1
    return counts


def test_there_are_136_bins():
    assert PATTERN_BIN.max() + 1 == (256 + 16) // 2 == 136
    assert np.bincount(PATTERN_BIN).tolist().count(1) == 16
    assert ric_lbp_features(grey(40, 40)).shape == (3 * 136,)


@pytest.mark.parametrize("number", range(3))
def test_counts_are_those_of_a_literal_loop(number):
    image = grey(26, 23)
    s, r = SCALES[number]
    counts = literal(image, s, r)
    ours = ric_lbp_features(image)[136 * number : 136 * (number + 1)]
    expected = np.zeros(136)
    for (a, b), count in counts.items():
        first, second = (sum(bit << place for place, bit in enumerate(p)) for p in (a, b))
        expected[PATTERN_BIN[16 * first + second]] += count
    np.testing.assert_allclose(ours, expected / expected.sum(), atol=1e-7)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_change_nothing(turns):
    image = grey(31, 44)
    np.testing.assert_array_equal(ric_lbp_features(image), ric_lbp_features(np.rot90(image, turns)))


def test_mirrors_do_change_it():
    image = grey(31, 44)
    assert np.abs(ric_lbp_features(image) - ric_lbp_features(image[:, ::-1])).max() > 1e-3


def test_each_scale_sums_to_one_and_brightness_has_no_part():
    image = grey(40, 40)
    sums = ric_lbp_features(image).reshape(3, 136).sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    np.testing.assert_array_equal(ric_lbp_features(image), ric_lbp_features(3 * image + 7))


def test_a_flat_image_is_one_bin():
    """All bits are set where nothing is darker."""
    flat = ric_lbp_features(np.full((40, 40), 9, np.float32)).reshape(3, 136)
    assert (flat[:, PATTERN_BIN[255]] == 1).all()


def test_a_slope_by_hand():
    """Brighter to the right: along 0° bits are 1, equal, 0, equal; i.e. 1 + 2 + 8 = 11."""
    slope = np.tile(np.arange(5, dtype=np.float32), (3, 1))
    # 3 × 5 pixels have three with neighbours at distance 1, in one row: one pair at distance 2.
    first = ric_lbp_features(slope)[:136]
    assert first[PATTERN_BIN[16 * 11 + 11]] == 1


def test_images_too_small_for_a_pair_give_zeros():
    for side in (1, 2, 3):
        assert (ric_lbp_features(grey(side, side)) == 0).all()
    sums = ric_lbp_features(grey(12, 12)).reshape(3, 136).sum(axis=1)
    assert sums.round(5).tolist() == [1, 1, 0]


def test_pairs_lie_where_the_direction_says():
    labels = np.arange(12).reshape(3, 4)
    for direction, step in enumerate((1, -3, -4, -5)):
        first, second = label_pairs(labels, 1, direction)
        assert (second - first == step).all()
    assert [label_pairs(labels, 1, d)[0].size for d in range(4)] == [9, 6, 8, 6]
    assert label_pairs(labels, 5, 1)[0].size == 0
